"""From findings to the impression: what a report's text says, whether a draft may say it, how soon.

In: the text of a findings section or of a draft, in English or Spanish. Out: mentions of findings
with their state and parts (`labeller`), a verdict on each sentence of a draft (`grounding`), a
draft that passes it (`mending`), the category of urgency of each finding (`criticality`) and the
published follow-up of a nodule (`fleischner`). Everything here is pure: the same text gives the
same answer, no model, no file but the phrase lists beside the code. Never: a word that the findings
do not hold, a phrase learnt from a report.
"""
