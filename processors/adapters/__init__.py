"""Other people's models under this house's rules: MONAI bundles, torchxrayvision, HTTP endpoints.

In: a folder with a site's card (`card`), weights or an endpoint, and the same Study as every
processor. Out: an Analysis, through `processors.adapters.judging.SiteProcessor`, which asks the
gate, adds what every report must say and leaves only the question itself to a `Model`.
Never: code out of a bundle (networks are built by name from `monai.networks.nets`), a pickle that
needs more than tensors, a socket (an HTTP endpoint is asked through a function that is handed in),
an explanation (these models give none, and every report says so).
This door imports nothing; torch and MONAI are loaded only when such a bundle is opened.
"""
