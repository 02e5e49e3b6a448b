"""Learns from a site's reports how its impressions are made of its findings, and measures drafts.

In: pairs of findings and impression; drafts. Out: the shipped bundle (numbers and trees alone, with
its card), a site's own corpus folder (index, texts, all models) or language model, which stay on
the site; figures with intervals and a page for people. Never imported by the product's other rooms;
chooses nothing on the reports it is judged by. Needs the extra `train`.

Measuring: `cases` what is drafted for; `systems` what drafts; `baselines` always stand beside;
`scores` ROUGE and the bootstrap; `judging` findings; `evaluation` joins them into one record;
`floors` holds it to the floors; `evaluation_page` shows it. Teaching a language model:
`language_options`, `language_data`, `language_network`, `language_training`, `language_work`,
`language_card`.
"""
