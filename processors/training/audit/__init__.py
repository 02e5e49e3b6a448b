"""Asks a trained model whether it reads the finding or something that goes with it.

In: a bundle and labelled images that trained nothing. Out: one record of figures with 95 %
intervals and a verdict with its reasons, and a page for people. Never: trains; a verdict softened
because the bundle is ours; an image written anywhere but into the page that was asked for.

`cases` one answer and its films; `probes` marks pasted on films; `following` what the score and the
latent follow; `groups` for whom it works less well; `five` tests of the strips; `mending` a found
mark taken out of the head; `verdict` decides; `record` joins them; `page` and `pictures` show.
"""
