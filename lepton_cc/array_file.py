"""`.npz` files with the same bytes each time: arrays by name, uncompressed, with a fixed date."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from lepton_cc.ir.tensor import Array


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The file, in the order of the mapping; types that NumPy lacks as unsigned integers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            plain = array.dtype.kind in "biuf"
            content = array if plain else array.view(np.dtype(f"u{array.dtype.itemsize}"))
            entry = io.BytesIO()
            np.lib.format.write_array(entry, content, (1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(info, entry.getvalue())
    return buffer.getvalue()
