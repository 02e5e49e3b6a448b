"""How drafts agree with what readers signed: figures, a page, pairs for training.

In: the rows of `storage.agreements`. Out: `figures.summary` (by week, reader, finding), `page.page`
(HTML), `pairs.write` (CSV). Pure but for that one file. Never: a judgement on a reader, a study's
UID in a file that leaves the node.
"""
