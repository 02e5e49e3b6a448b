"""What a processor in shadow would have done: the evidence on which a person promotes it.

In: the ended runs of a processor, those of the live processors beside it, and readings that the
site gives. Out: figures with 95 % intervals, as plain data, text, a page, and the audit event of a
promotion. Never: a patient's name or number, a change of node.yaml, a green light: it names what
speaks against a promotion, and a person decides.
"""
