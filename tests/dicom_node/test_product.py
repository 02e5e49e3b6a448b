"""Who we are is said in two rooms that may not import each other's words."""

from __future__ import annotations

from dicom_node import product
from reports import header, model
from storage.records import ORDER


def test_own_loop_knows_the_maker_that_the_reports_name() -> None:
    assert product.MANUFACTURER == header.MANUFACTURER


def test_storage_and_reports_know_an_order_by_the_same_word() -> None:
    assert model.ORDER == ORDER
