"""Trains models that draft impressions, and measures whatever drafts them.

In: pairs of findings and impression, drafts, model folders. Out: model folders with their card;
figures with intervals and a page for people. Never imported by the product's other rooms; needs
the extra `train`, and `language` where a language model is trained or asked.

Measuring: `cases` what is drafted for; `systems` what drafts; `baselines` always stand beside;
`scores` ROUGE and the bootstrap; `judging` findings; `evaluation` joins them into one record;
`floors` holds it to the floors; `evaluation_page` shows it.
"""
