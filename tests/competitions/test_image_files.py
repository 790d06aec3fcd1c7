"""Images that are no pictures: DICOM and bands, to the grey levels that are defined."""

import sys

import cv2
import numpy as np
import pytest

from pipeline.competitions.contrails import MASK, read_ash, read_truth, write_image
from pipeline.config.competitions import competitions
from pipeline.data.decoding import UnusableImageError
from pipeline.data.files import ImageFiles
from pipeline.data.images import read_image, read_picture
from pipeline.errors import ConfigError, DataError
from pipeline.masks.rle import encode_mask

pytestmark = pytest.mark.unit


def dicom(path, values, **also):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = pydicom.Dataset()
    data.file_meta = meta
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    for name, value in also.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(
    ("values", "also", "expected"),
    [
        (np.uint8([[0, 7], [200, 255]]), {}, [[0, 7], [200, 255]]),
        (np.uint8([[0, 7]]), {"PhotometricInterpretation": "MONOCHROME1"}, [[255, 248]]),
        (np.uint16([[0, 257], [65535, 128 * 257]]), {}, [[0, 1], [255, 128]]),
        (np.int16([[-32768, 32767]]), {}, [[0, 255]]),
        (np.uint16([[0, 4095]]), {"BitsStored": 12, "HighBit": 11}, [[0, 255]]),
        # A window's middle is half below its centre; PS3.3's own example has 2048 and 4096.
        (
            np.uint16([[0, 4095, 9000]]),
            {"WindowCenter": 2048, "WindowWidth": 4096},
            [[0, 255, 255]],
        ),
        (
            np.uint16([[1000, 1100, 1200]]),
            {
                "RescaleSlope": 2,
                "RescaleIntercept": -2000,
                "WindowCenter": 200.5,
                "WindowWidth": 401,
            },
            [[0, 128, 255]],
        ),
    ],
)
def test_dicom_becomes_8_bits_as_its_window_says(tmp_path, values, also, expected):
    path = tmp_path / "a.dcm"
    dicom(path, values, **also)
    image_hwc = read_picture(path)
    assert image_hwc.dtype == np.uint8
    np.testing.assert_array_equal(image_hwc, np.repeat(np.array(expected)[..., None], 3, axis=2))
    np.testing.assert_array_equal(read_image(path, *values.shape), image_hwc)


def test_dicom_without_its_extra_or_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.dcm").write_bytes(b"no DICOM")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pydicom", None)
        with pytest.raises(ConfigError, match=r"pip install .*\[dicom\]"):
            read_picture(tmp_path / "a.dcm")
    pytest.importorskip("pydicom")
    with pytest.raises(UnusableImageError, match="not decodable"):
        read_picture(tmp_path / "a.dcm")
    dicom(tmp_path / "b.dcm", np.zeros((2, 2), np.uint8), VOILUTFunction="SIGMOID")
    with pytest.raises(UnusableImageError, match="a linear window, got SIGMOID"):
        read_picture(tmp_path / "b.dcm")


def test_images_are_found_in_folders_of_their_own_and_pictures_count_first(tmp_path):
    files = ImageFiles(tmp_path, competitions()["siim_acr"])
    for name in ("1/2/x.dcm", "3/4/y.dcm", "y.png", "5/._z.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files.found == {"x": tmp_path / "1/2/x.dcm", "y": tmp_path / "y.png"}
    assert files.path("w") == tmp_path / "w.png"


def test_bands_are_shown_in_ash_colours(tmp_path):
    random = np.random.default_rng(0)
    image_hwc = random.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    mask_hw = random.integers(0, 2, (6, 9), dtype=np.uint8)
    write_image(tmp_path / "17", image_hwc, mask_hw)
    path = tmp_path / "17" / "band_14.npy"
    np.testing.assert_array_equal(read_picture(path), image_hwc)
    assert read_truth(tmp_path / "17") == encode_mask(mask_hw)
    # By hand: band 15 - band 14 in -4..2 K, band 14 - band 11 in -4..5 K, band 14 in 243..303 K.
    for band, kelvin in {11: 270.5, 14: 273.0, 15: 272.0}.items():
        np.save(path.with_name(f"band_{band}.npy"), np.full((1, 1, 8), kelvin, np.float32))
    assert read_ash(path).tolist() == [[[128, 184, 128]]]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4), np.float32), r"expected decimal numbers in \(height, width, 8\)"),
        (np.zeros((4, 4, 8), int), "got int64"),
        (np.full((4, 4, 8), np.nan, np.float32), "infinite or none"),
        (None, "missing"),
    ],
)
def test_a_damaged_band_is_the_images_defect(tmp_path, array, said):
    write_image(tmp_path / "17", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8))
    band = tmp_path / "17" / "band_11.npy"
    band.unlink()
    if array is not None:
        np.save(band, array)
    with pytest.raises(UnusableImageError, match=said):
        read_picture(tmp_path / "17" / "band_14.npy")
    np.save(tmp_path / "17" / MASK, np.full((4, 4, 1), 2))
    with pytest.raises(DataError, match="expected zeros and ones"):
        read_truth(tmp_path / "17")


def test_a_grey_picture_is_read_as_three_equal_colours(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert (read_picture(tmp_path / "a.png") == np.arange(12).reshape(3, 4, 1)).all()
