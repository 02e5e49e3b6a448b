"""Learns from a site's reports how its impressions are made of its findings.

In: pairs of findings and impression. Out: the shipped bundle (numbers and trees alone, with its
card), or a site's own corpus folder (index, texts, all models), which stays on the site.
Never imported by the product's other rooms; chooses nothing on the reports it is judged by.
"""
