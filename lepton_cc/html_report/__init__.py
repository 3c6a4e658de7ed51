"""Reports as one page of HTML: inline SVG, a little script, nothing from outside."""
