"""Makes bundles: from labelled films to a measured model with its card.

In: tables with images, a plan. Out: a bundle folder that `processors.runtime` opens. Commands:
`command.train_bundle`, `appraise.evaluate_bundle`; `bundle.write_checksums` after any change.
Never imported by the product's other rooms; needs the extra `train`.
"""
