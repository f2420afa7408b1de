"""Writes a small PDF: lines of text with amounts on the right, on A4 pages."""

_LINES_PER_PAGE = 44
_TOP, _STEP, _LEFT, _RIGHT = 790, 17, 50, 545
_AVERAGE_WIDTH = 5.3


def _escaped(text: str) -> str:
    safe = text.encode("cp1252", "replace").decode("cp1252")
    return safe.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _content(lines: list[tuple[str, str]]) -> bytes:
    parts = ["BT /F1 10 Tf"]
    for index, (left, right) in enumerate(lines):
        y = _TOP - index * _STEP
        parts.append(f"1 0 0 1 {_LEFT} {y} Tm ({_escaped(left[:90])}) Tj")
        if right:
            x = _RIGHT - len(right) * _AVERAGE_WIDTH
            parts.append(f"1 0 0 1 {x:.0f} {y} Tm ({_escaped(right)}) Tj")
    return ("\n".join(parts) + "\nET").encode("cp1252")


def document_pdf(lines: list[tuple[str, str]]) -> bytes:
    """The bytes of a PDF 1.4 file that shows the lines."""
    chunks = [lines[i : i + _LINES_PER_PAGE] for i in range(0, len(lines), _LINES_PER_PAGE)]
    pages = [4 + 2 * index for index in range(len(chunks))]
    kids = " ".join(f"{number} 0 R" for number in pages)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, chunk in zip(pages, chunks, strict=True):
        content = _content(chunk)
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {number + 1} 0 R >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    return _assembled(objects)


def _assembled(objects: list[bytes]) -> bytes:
    file = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        file += b"%010d 00000 n \n" % offset
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
    return bytes(file)
