"""The frame of every HTML page that this product writes: one look, one file, nothing from outside.

In: a title, a warning, a body of HTML that is escaped already. Out: the page as text. Never: a
script, a font or a picture from another place.
"""

from __future__ import annotations

import html

_STYLE = """
:root{color-scheme:dark}
body{background:#14171a;color:#e8e6e3;font:16px/1.5 system-ui,sans-serif;max-width:72rem;
 margin:2rem auto;padding:0 1rem}
.warn{border-left:.4rem solid #e69f00;padding:.6rem 1rem;background:#221d12}
section{border-top:1px solid #3a4048;padding:1.2rem 0}
img{max-width:100%;height:auto}
h2{margin:.2rem 0}
.state{font-weight:700}
code{font-size:.8rem;color:#9aa4ae;word-break:break-all}
figure{margin:1rem 0}
figcaption{color:#9aa4ae}
table{border-collapse:collapse;margin:.8rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .9rem .25rem 0;
 border-bottom:1px solid #2a2f35}
th{color:#9aa4ae;font-weight:400}
svg{width:100%;height:auto;font:14px system-ui,sans-serif}
"""


def whole(title: str, warning: str, body: str, language: str) -> str:
    """The page. body: HTML; title and warning: plain text."""
    title, warning = html.escape(title), html.escape(warning)
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p class=warn>{warning}</p>{body}</html>\n"
    )
