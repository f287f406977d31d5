"""Tables of the web pages, with numbers set to the right."""

import html
from collections.abc import Sequence

STYLE = """
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); font-size: .9rem; padding-bottom: .5rem; max-width: 80ch; }
th, td { text-align: left; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--faint); font-weight: 600; font-size: .85rem; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.faint { color: var(--faint); font-size: .9rem; min-width: 14rem; }
"""


def printable(text: str) -> str:
    """Replaces characters that are no text or reverse its direction, as file names may have them."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def escaped(text: str) -> str:
    """Returns any text as markup that shows it."""
    return html.escape(printable(text), quote=True)


def section(heading: str, content: str) -> str:
    """Returns a part of a page under a heading, which is markup."""
    return f"<section><h2>{heading}</h2>{content}</section>"


def table(caption: str, head: Sequence[str], rows: Sequence[str], numbers: range, kind: str = "") -> str:
    """Returns a table of the `rows` that `row` made. `numbers`: the columns that are set to the right."""
    columns = "".join(
        f'<th scope="col"{" class=number" if i in numbers else ""}>{escaped(name)}</th>' for i, name in enumerate(head)
    )
    return (
        f'<div class="table"><table class="{kind}"><caption>{escaped(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(head: str, numbers: Sequence[str], rest: Sequence[str] = (), kind: str = "") -> str:
    """Returns a row: its head, cells that are numbers, and others."""
    cells = "".join(f'<td class="number">{escaped(cell)}</td>' for cell in numbers)
    cells += "".join(f'<td class="faint">{escaped(cell)}</td>' for cell in rest)
    return f'<tr class="{kind}"><th scope="row">{escaped(head)}</th>{cells}</tr>'
