"""The table of `defences.py`: a fault, the text of its defence, what stands there without it.

`old` must stand exactly once in the file; `test` is the pytest node that must then fail.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One defence and the test that notices when it is gone."""

    fault: str
    file: str
    old: str
    new: str
    test: str


STORAGE = "tests/faults/test_storage_database.py"
QUEUE = "tests/faults/test_storage_queue.py"
STUDIES = "tests/faults/test_storage_studies.py"
INTAKE = "tests/faults/test_intake_storage_faults.py"
GATE = "tests/processors/test_gate.py"
PACS = "tests/faults/test_destination_pacs.py"
RIS = "tests/faults/test_destination_ris.py"
CONFIG = "tests/config/test_config_faults.py"
SYSTEM_CONFIG = "tests/faults/test_config_system.py"
ROUTING = "tests/dicom_node/test_routing.py"
CLOCK = "tests/dicom_node/test_clock.py"
BOUNDED = "tests/processors/test_bounded.py"
DRAFT = "tests/processors/test_draft_guard.py"
MODEL_NODE = "tests/faults/test_model_node.py"
INBOX = "tests/dicom_node/inbox/test_inbox_wire.py"
INBOX_ROWS = "tests/storage/test_storage_inbox.py"

ROWS = (
    # ---- storage ----------------------------------------------------------------------------
    Row("disk-full", "storage/errors.py",
        "    errno.ENOSPC: StorageFull,\n", "",
        "tests/storage/test_storage_spool.py::test_disk_full_while_streaming"),
    Row("disk-full-db", "storage/_fates.py",
        "    sqlite3.SQLITE_FULL: StorageFull,\n", "",
        f"{STORAGE}::test_disk_full_db"),
    Row("disk-readonly", "storage/errors.py",
        "    errno.EROFS: StorageReadOnly,\n", "",
        "tests/storage/test_storage_spool.py::test_disk_readonly_while_streaming"),
    Row("disk-io-error", "storage/spool.py",
        "            with suppress(OSError):\n                target.unlink(missing_ok=True)\n"
        "            raise", "            raise",
        "tests/storage/test_storage_spool.py::test_disk_io_error_is_never_trusted"),
    Row("kill-between", "dicom_node/intake/recovery.py",
        "        if _adopt(storage, path):", "        if False:",
        f"{INTAKE}::test_kill_between"),
    Row("power-loss", "storage/spool.py",
        "            os.fsync(file)\n            _sync_folder(target.parent)\n        except",
        "            pass\n        except",
        f"{INTAKE}::test_power_loss"),
    Row("db-locked", "storage/_fates.py",
        "    sqlite3.SQLITE_BUSY: StorageBusy,\n", "",
        f"{STORAGE}::test_db_locked"),
    Row("db-corrupt", "storage/_fates.py",
        "    sqlite3.SQLITE_CORRUPT: StorageCorrupt,\n    sqlite3.SQLITE_NOTADB: StorageCorrupt,\n",
        "",
        f"{STORAGE}::test_db_corrupt"),
    Row("clock-back", "dicom_node/routing.py",
        "    if arrivals[-1] > now + timedelta(seconds=settle.longest):\n        return 0.0\n", "",
        f"{ROUTING}::test_clock_back_does_not_wait_for_ever"),
    # ---- queue ------------------------------------------------------------------------------
    Row("worker-killed", "storage/_runs.py",
        "        values[\"state\"] = RunState.READY\n    connection",
        "        values[\"state\"] = RunState.RUNNING\n    connection",
        f"{QUEUE}::test_worker_killed"),
    Row("poison-job", "storage/_runs.py",
        "    if row.tries >= most:", "    if False:",
        f"{QUEUE}::test_poison_job"),
    Row("lease-lost", "storage/_finish.py",
        "        runs.c.attempt == run.attempt,\n", "",
        f"{QUEUE}::test_lease_lost_by_the_same_owner"),
    Row("two-workers", "storage/_runs.py",
        "            return None if chosen is None else _take(transaction, chosen, owner)",
        "            run = None if chosen is None else _take(transaction, chosen, owner)\n"
        "            transaction.connection.execute(\n"
        "                update(runs).where(runs.c.id == chosen).values(state=RunState.READY)\n"
        "            )\n            return run",
        f"{QUEUE}::test_two_workers"),
    Row("queue-restart", "storage/_runs.py",
        "        .order_by(runs.c.id)\n        .limit(1)",
        "        .order_by(runs.c.id.desc())\n        .limit(1)",
        f"{QUEUE}::test_queue_restart"),
    Row("queue-flood", "dicom_node/routing.py",
        "urgent=any(_is_urgent(instance.headers) for instance in choice.picked)",
        "urgent=False",
        f"{ROUTING}::test_queue_flood_stat_studies_go_first"),
    Row("outbox-crash", "storage/_outbox.py",
        "update(deliveries).where(deliveries.c.state == DeliveryState.SENDING)",
        "update(deliveries).where(deliveries.c.state == DeliveryState.HELD)",
        f"{QUEUE}::test_outbox_crash"),
    # ---- clinical ---------------------------------------------------------------------------
    Row("wrong-patient", "storage/_intake.py",
        "    return one[0] == other[0] and (", "    return True or (",
        f"{STUDIES}::test_wrong_patient"),
    Row("two-patients", "reports/identity.py",
        "    if len({one.patient_id.strip() for one in said}) > 1 or len(issuers) > 1:",
        "    if False:",
        "tests/reports/test_reports_identity.py::test_two_patients_in_one_study_are_unclear"),
    Row("lateral-view", "processors/gate/_views.py",
        "        if said & LATERAL:", "        if False:",
        f"{GATE}::test_lateral_view"),
    Row("view-lies", "processors/gate/_views.py",
        "    if claims == {\"view\", \"frontal\"}:", "    if False:",
        f"{GATE}::test_view_lies_in_the_header"),
    Row("paediatric", "processors/gate/__init__.py",
        "    if years is not None and not any(", "    if False and not any(",
        f"{GATE}::test_paediatric"),
    Row("blank-image", "processors/gate/__init__.py",
        "    if is_blank(picture):", "    if False:",
        f"{GATE}::test_blank_image"),
    Row("inverted", "processors/gate/__init__.py",
        "    \"inverted\": \"inverted\",\n", "",
        f"{GATE}::test_inverted"),
    Row("rotated", "processors/gate/__init__.py",
        "    \"rotated_90\": \"rotated\",\n    \"rotated_180\": \"rotated\",\n"
        "    \"rotated_270\": \"rotated\",\n", "",
        f"{GATE}::test_rotated"),
    Row("wrong-body-part", "processors/gate/_header.py",
        "    if stated and not fitting:", "    if False:",
        f"{GATE}::test_wrong_body_part"),
    Row("blank-accession", "reports/hl7_segments.py",
        "identity.accession or uids.filler_number(identity.study_uid)", "identity.accession",
        "tests/reports/test_reports_hl7.py::test_blank_accession"),
    Row("late-images", "storage/_planning.py",
        "older = max(before, default=None) if", "older = None if",
        f"{STUDIES}::test_late_images"),
    Row("duplicate-study", "storage/_planning.py",
        "    elif same.state == RunState.SUPERSEDED:", "    elif True:",
        f"{STUDIES}::test_duplicate_study"),
    Row("own-loop", "dicom_node/product.py",
        "MANUFACTURER = \"dictamen project\"", "MANUFACTURER = \"dictamen\"",
        "tests/dicom_node/test_product.py"),
    Row("demographics-update", "reports/identity.py",
        "if mine[field.name] != theirs[field.name]", "if False",
        "tests/reports/test_reports_identity.py::test_demographics_update"),
    Row("secondary-capture-in", "dicom_node/routing.py",
        "    if \"SECONDARY\" in kinds[1:2] and", "    if False and",
        f"{ROUTING}::test_secondary_capture_in_and_own_results_are_no_input"),
    # ---- destination ------------------------------------------------------------------------
    Row("pacs-down", "dicom_node/verdict.py",
        "    if now >= deadline(delivery, patience):", "    if True:",
        f"{PACS}::test_pacs_down"),
    Row("pacs-reject", "dicom_node/destinations/dicom.py",
        "    permanent = result == 1\n", "    permanent = False\n",
        f"{PACS}::test_pacs_reject_permanently"),
    Row("pacs-context", "dicom_node/destinations/dicom.py",
        "[ExplicitVRLittleEndian, ImplicitVRLittleEndian]", "[ExplicitVRLittleEndian]",
        f"{PACS}::test_pacs_context_implicit_only"),
    Row("pacs-warn", "dicom_node/destinations/dicom.py",
        "    if status in _WARNINGS or status in _OTHER_WARNINGS:", "    if False:",
        f"{PACS}::test_pacs_warn"),
    Row("pacs-fail", "dicom_node/destinations/dicom.py",
        "    if parcel.refusals + 1 < REFUSALS_BEFORE_REJECTED:", "    if True:",
        f"{PACS}::test_pacs_fail_for_good_after_three"),
    Row("pacs-lost-answer", "storage/_outbox.py",
        "            values = {\"state\": DeliveryState.WAITING, \"next_try\": transaction.now}",
        "            values = {\"state\": DeliveryState.DELIVERED, \"next_try\": transaction.now}",
        f"{QUEUE}::test_outbox_crash"),
    Row("mllp-ae", "dicom_node/destinations/mllp.py",
        "    if ack.code in _ERROR and parcel.refusals < ae_retries:",
        "    if ack.code in _ERROR:",
        f"{RIS}::test_mllp_ae"),
    Row("mllp-ar", "dicom_node/destinations/mllp.py",
        "    return _stopped(parcel, Fate.HELD, ack.code, words)",
        "    return Outcome(parcel.delivery_id, Fate.TRY_LATER, words, status=ack.code)",
        f"{RIS}::test_mllp_ar"),
    Row("mllp-wrong-id", "dicom_node/destinations/mllp.py",
        "                if ack.control == control:", "                if True:",
        f"{RIS}::test_mllp_wrong_id"),
    Row("mllp-garbage", "dicom_node/destinations/mllp.py",
        "            if total > MAX_ACK_BYTES:", "            if False:",
        f"{RIS}::test_mllp_garbage"),
    Row("mllp-escape", "reports/hl7_text.py",
        "    return \"\".join(_ESCAPES.get(char, char) for char in clean)", "    return clean",
        "tests/reports/test_reports_hl7.py::test_mllp_escape"),
    Row("callback-dns", "dicom_node/destinations/mllp.py",
        "        except socket.gaierror:\n", "        except ZeroDivisionError:\n",
        f"{RIS}::test_callback_dns_of_a_ris"),
    # ---- config -----------------------------------------------------------------------------
    Row("cfg-unknown-key", "config/settings.py",
        "ConfigDict(extra=\"forbid\", ", "ConfigDict(extra=\"ignore\", ",
        f"{CONFIG}::test_cfg_unknown_key"),
    Row("cfg-wrong-type", "config/settings.py",
        "Port = Annotated[int, Field(ge=1, le=65535)]", "Port = Any",
        f"{CONFIG}::test_cfg_wrong_type"),
    Row("cfg-missing-secret", "config/variables.py",
        "        elif name not in self.environ:\n"
        "            self._complain(place, f\"environment variable {name} is not set\")\n"
        "        elif not self.environ[name]:\n",
        "        elif name not in self.environ:\n            return \"\"\n"
        "        elif not self.environ[name]:\n",
        f"{CONFIG}::test_cfg_missing_secret"),
    Row("cfg-duplicate-key", "config/document.py",
        "        elif name in found:", "        elif False:",
        f"{CONFIG}::test_cfg_duplicate_key"),
    Row("cfg-bad-aet", "config/settings.py",
        "    if not re.fullmatch(r\"[ !-\\[\\]-~]{1,16}\", value) or value != value.strip():",
        "    if False:",
        f"{CONFIG}::test_cfg_bad_aet"),
    Row("cfg-octal", "config/document.py",
        "    if _AMBIGUOUS.fullmatch(text):", "    if False:",
        f"{CONFIG}::test_cfg_octal"),
    Row("cfg-port-taken", "dicom_node/supervisor.py",
        "        check_ports(self.settings)\n", "",
        f"{SYSTEM_CONFIG}::test_cfg_port_taken"),
    # ---- security and model -----------------------------------------------------------------
    Row("yaml-bomb", "config/document.py",
        "        self._count(spot, node.size)\n", "",
        f"{CONFIG}::test_yaml_bomb"),
    Row("audit-tamper", "storage/_chain.py",
        "    content = {name: row[name] for name in (*_FIELDS, \"previous_hash\")}",
        "    content = {\"sequence\": row[\"sequence\"]}",
        f"{STORAGE}::test_audit_tamper"),
    Row("log-injection", "dicom_node/logs.py",
        "            _one_line,\n", "",
        "tests/dicom_node/test_logs.py::test_log_injection"),
    Row("weights-corrupt", "processors/runtime.py",
        "        if hashlib.sha256(data).hexdigest() != digest:", "        if False:",
        "tests/processors/test_runtime.py::test_weights_corrupt"),
    Row("pickle-weights", "processors/runtime.py",
        "        if name not in weights_only and _is_pickle(data):", "        if False:",
        "tests/processors/test_runtime.py::test_pickle_weights"),
    Row("zip-slip", "processors/runtime.py",
        "        if not name or pure.is_absolute() or \"..\" in pure.parts or",
        "        if not name or",
        "tests/processors/test_runtime.py::test_zip_slip"),
    Row("evidence-outside-the-organ", "processors/vae/processor.py",
        "        drawn = state is not State.ABSENT and top.placed",
        "        drawn = state is not State.ABSENT",
        "tests/processors/vae/test_vae_processor.py::"
        "test_evidence_outside_the_organ_is_neither_drawn_nor_explained"),
    Row("model-nan", "processors/runtime.py",
        "    if not np.isfinite(values).all():", "    if False:",
        "tests/processors/test_runtime.py::test_model_nan"),
    Row("weights-missing", "dicom_node/wiring.py",
        "f\"processors.{processor.name}.bundle: {error}\"", "str(error)",
        f"{MODEL_NODE}::test_weights_missing_refuse_the_start"),
    Row("weights-shape", "dicom_node/cli/node.py",
        "        wiring.verify(settings, processor)\n",
        "        from processors.runtime import read_verified\n\n"
        "        read_verified(processor.bundle)\n",
        f"{MODEL_NODE}::test_weights_shape_refuse_the_start"),
    Row("weights-corrupt", "dicom_node/roles.py",
        "        notices.say(str(error))\n", "",
        f"{MODEL_NODE}::test_weights_corrupt_below_a_running_node_are_named_and_never_run"),
    Row("model-swap", "processors/vae/processor.py",
        "            gate.warm(self._card, bundle.folder)\n", "",
        "tests/processors/vae/test_vae_processor.py::"
        "test_model_swap_leaves_the_gate_that_was_read_at_the_start"),
    Row("model-crash", "dicom_node/supervisor.py",
        "            self._watch.died(self._storage, child.owner, f\"its worker {how}\")",
        "            pass",
        f"{MODEL_NODE}::test_model_crash_ends_only_the_worker"),
    Row("model-hang", "dicom_node/clock.py",
        "if late > self.timeout and (kill(run.owner) or late > self.timeout + self.lease):",
        "if late > self.timeout + self.lease or (late > self.timeout and kill(run.owner)):",
        f"{CLOCK}::test_model_hang_is_ended_however_late_it_is_seen"),
    Row("model-hang", "dicom_node/clock.py",
        "            del self._silent[owner]\n            kill(owner)\n",
        "            del self._silent[owner]\n",
        f"{CLOCK}::test_model_hang_that_stops_the_beat_ends_with_its_worker"),
    Row("model-oom-gpu", "processors/bounded.py",
        "            if len(part) == 1:\n", "            if True:\n",
        f"{BOUNDED}::test_model_oom_gpu"),
    Row("model-oom-gpu", "processors/bounded.py",
        "memory // (LIVE * largest)", "MOST",
        f"{BOUNDED}::test_a_pass_stays_within_its_memory"),
    Row("model-oom-gpu", "storage/_runs.py",
        "                \"tries\": func.coalesce(runs.c.tries, 1) - 1,\n            }\n"
        "            statement = update(runs).where(*_finish.fence(run)).values(values)\n"
        "            if transaction.connection.execute(statement).rowcount != 1:",
        "            }\n"
        "            statement = update(runs).where(*_finish.fence(run)).values(values)\n"
        "            if transaction.connection.execute(statement).rowcount != 1:",
        "tests/storage/test_storage_runs.py::"
        "test_a_postponed_run_waits_its_time_and_loses_no_attempt"),
    Row("gpu-lost", "processors/bounded.py",
        "            self._networks, self._spare = self._spare, None\n"
        "            return self._part(part, one_pass)",
        "            return one_pass(self._spare, part)",
        f"{BOUNDED}::test_gpu_lost"),
    Row("gpu-lost", "dicom_node/pipeline.py",
        "    except TryLater:\n        raise\n", "",
        f"{MODEL_NODE}::test_gpu_lost_lets_runs_wait_where_only_the_gpu_may_be_used"),
    Row("report-rambling", "processors/draft_guard.py",
        "                if found and not DENIALS", "                if False and not DENIALS",
        f"{DRAFT}::test_report_rambling"),
    Row("report-rambling", "processors/vae/processor.py",
        "            impression=None if withheld else draft,", "            impression=draft,",
        f"{DRAFT}::test_report_rambling_leaves_the_structured_findings"),
    Row("report-phi", "processors/draft_guard.py",
        "    if _identifies(own, patient):", "    if False:",
        f"{DRAFT}::test_report_phi"),
    # ---- reports in -------------------------------------------------------------------------
    Row("inbox-durable", "dicom_node/inbox/desk.py",
        "    taken = desk.storage.inbox.add(new)\n",
        "    import threading\n"
        "    from storage import MessageRecord\n"
        "    threading.Timer(1.0, desk.storage.inbox.add, (new,)).start()\n"
        "    taken = Taken(TakenAs.NEW, MessageRecord(0, '', '', '', 0, '', new.kind,"
        " MessageState.TAKEN, '', '', None, '', new.received_at, 0))\n",
        f"{INBOX}::test_findings_are_durable_and_planned_when_AA_is_heard"),
    Row("inbox-endless", "dicom_node/inbox/frames.py",
        "        if len(self._held) > self._limit:", "        if False:",
        "tests/dicom_node/inbox/test_inbox_frames.py::"
        "test_an_endless_message_ends_at_the_limit"),
    Row("inbox-slow", "dicom_node/inbox/server.py",
        "        if messages or frames.inside != was_inside or not frames.inside:",
        "        if True:",
        f"{INBOX}::test_a_slow_sender_is_not_waited_for_longer_than_receive"),
    Row("inbox-half-open", "dicom_node/inbox/server.py",
        "        if left <= 0:",
        "        if not frames.inside:\n            left = 1.0\n        if left <= 0:",
        f"{INBOX}::test_a_half_open_connection_is_given_up_after_idle"),
    Row("inbox-stranger", "dicom_node/inbox/server.py",
        "    stranger = address not in known", "    stranger = False",
        f"{INBOX}::test_a_stranger_hears_AR_and_nothing_of_it_is_kept"),
    Row("inbox-many", "dicom_node/inbox/server.py",
        "            if len(self._open) >= limits.connections:", "            if False:",
        f"{INBOX}::test_too_many_connections"),
    Row("inbox-repeat", "storage/_inbox.py",
        "    if repeat is not None:", "    if False:",
        f"{INBOX_ROWS}::test_the_same_message_again_changes_nothing"),
    Row("inbox-conflict", "storage/_inbox.py",
        "    if same:\n", "    if False:\n",
        f"{INBOX_ROWS}::test_the_same_control_id_with_other_bytes_is_a_second_message"),
    Row("inbox-other-patient", "storage/_inbox.py",
        "    elif reason := _matching.other_patient(study, new):",
        "    elif reason := '':",
        f"{INBOX_ROWS}::test_same_patient_only"),
    Row("inbox-across-patients", "storage/_matching.py",
        "    found = [row.uid for row in rows if _is_one_of(row, new)]",
        "    found = [row.uid for row in rows]",
        f"{INBOX_ROWS}::test_which_study_findings_are_of"),
    Row("inbox-charset", "dicom_node/inbox/charset.py",
        "        if _is_utf8(data):", "        if False:",
        "tests/dicom_node/inbox/test_inbox_message.py::"
        "test_refused"),
    Row("inbox-no-study", "reports/hl7_oru.py",
        "    if not is_order(study.uid):\n", "    if True:\n",
        "tests/dicom_node/test_drafts.py::test_an_order_without_a_study_names_none"),
    Row("inbox-last-look", "dicom_node/drafts.py",
        "    if why := _withheld(draft, request, study):", "    if why := '':",
        "tests/dicom_node/test_drafts.py::"
        "test_a_draft_that_must_not_leave_is_answered_with_its_reason"),
    Row("inbox-grounded", "processors/impressions/plain.py",
        "            if guard and faults:", "            if False:",
        "tests/processors/impressions/test_plain.py::"
        "test_a_sentence_that_fails_its_check_is_refused"),
)  # fmt: skip
