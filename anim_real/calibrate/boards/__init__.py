"""Boards and the solids that carry them: drawn, printed, found in images and on scans."""
