import pytest

from tcssa.files.boundary import UnsoundError
from tcssa.files.ome import Plane, is_ome_xml, read_ome

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def xml(pixels: str, inside: str, *, root: str = "") -> str:
    return (
        f'<?xml version="1.0"?><OME xmlns="{SCHEMA}" {root}><Image ID="Image:0" Name="he">'
        f'<Pixels Type="uint8" {pixels}>{inside}</Pixels></Image></OME>'
    )


SIZES = 'SizeX="9" SizeY="8" SizeZ="1" SizeT="1" DimensionOrder="XYCZT"'


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [("0.25", "", 0.25), ("250", "nm", 0.25), ("0.25", "\u00b5m", 0.25), ("0.00025", "mm", 0.25)],
)
def test_the_size_of_pixels_is_in_micrometres(size: str, unit: str, mpp: float) -> None:
    said = " ".join(
        f'PhysicalSize{axis}="{size}"' + (f' PhysicalSize{axis}Unit="{unit}"' if unit else "")
        for axis in "XY"
    )
    (image,) = read_ome(xml(f'{SIZES} SizeC="3" {said}', '<Channel SamplesPerPixel="3"/>'))
    assert image.mpp == pytest.approx((mpp, mpp))
    assert image.pages == {Plane(0, 0, 0): 0}


@pytest.mark.parametrize(
    "said",
    [
        "",
        'PhysicalSizeX="0.5"',
        'PhysicalSizeX="1" PhysicalSizeY="0"',
        'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"',
    ],
)
def test_half_a_resolution_is_none(said: str) -> None:
    (image,) = read_ome(xml(f'{SIZES} SizeC="1" {said}', '<Channel SamplesPerPixel="1"/>'))
    assert image.mpp is None


def test_planes_follow_the_order_of_dimensions() -> None:
    sizes = 'SizeX="9" SizeY="8" SizeZ="2" SizeC="3" SizeT="1" DimensionOrder="XYZCT"'
    (image,) = read_ome(xml(sizes, '<TiffData IFD="4" PlaneCount="6"/>'))
    assert image.pages[Plane(1, 0, 0)] == 5
    assert image.pages[Plane(0, 0, 1)] == 6
    (image,) = read_ome(xml(sizes, '<TiffData FirstC="2" FirstZ="1" IFD="7"/>'))
    assert image.pages == {Plane(1, 0, 2): 7}


def test_planes_of_other_files_are_not_taken_for_own_pages() -> None:
    data = '<TiffData IFD="0"><UUID FileName="b.ome.tif">urn:uuid:b</UUID></TiffData>'
    (image,) = read_ome(xml(f'{SIZES} SizeC="1"', data, root='UUID="urn:uuid:a"'))
    assert (image.pages, image.other_files) == ({}, ("b.ome.tif",))


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]><OME/>',
        "<OME",
        "<OME/>",
        "<OME><Image/></OME>",
        xml(f'{SIZES} SizeC="many"', ""),
        xml('SizeZ="100000" SizeT="100000" SizeC="1"', ""),
        xml(f'{SIZES} SizeC="1"', '<TiffData FirstZ="9"/>'),
    ],
)
def test_nonsense_is_one_error(text: str) -> None:
    assert is_ome_xml(text)
    with pytest.raises(UnsoundError, match="OME-XML"):
        read_ome(text)
