"""From findings to the impression: what a report's text says, whether a draft may say it, how soon.

In: the text of a findings section or of a draft, in English or Spanish; coded findings of an image
model. Out: mentions of findings with their state and parts (`labeller`), a verdict on each sentence
of a draft (`grounding`) and its repair (`mending`), the category of urgency of each finding
(`criticality`), the published follow-up of a nodule (`follow_up`, `fleischner`); and drafts: of
coded findings by rule (`coded`), of a section by a `drafter`: sources offer candidates, the guard
sifts them, what was learnt (`scoring`, or `site` with a site's own reports) chooses.
`language_model` opens language models as sources, `word_shares` shows which words moved a score,
`plain_language` says it to the patient. Everything here is pure: the same text gives the same
answer; the only files are phrase lists, a bundle and a site's corpus, each checked. Never: a
sentence that the findings do not bear; a phrase learnt from a report in what is shipped.
"""
