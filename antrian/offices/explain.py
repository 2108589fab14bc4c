"""The texts with which ListOffices explains why it lists these offices."""

from collections.abc import Sequence

from antrian.booking import Office, Province
from antrian.errors import Text


def explain_anywhere() -> Text:
    """Every office may be used from everywhere (the policy's rule "any")."""
    return Text("Semua kantor dapat dipakai, di mana pun Anda berada.", "Every office may be used, wherever you are.")


def explain_location(provinces: Sequence[Province], radius_m: float, nearest: tuple[Office, Province] | None) -> Text:
    """Explains the provinces of a location, nearest first. nearest: the nearest office if they have none."""
    here = provinces[0]
    if nearest is not None:
        return _no_office(here, nearest)
    if len(provinces) == 1:
        return Text(
            f"Lokasi perangkat Anda di {here.name_id}, jadi yang tampil adalah kantor di provinsi itu. "
            "Di provinsi lain, kantor provinsi itulah yang tampil.",
            f"Your device is in {here.name_en}, so the offices of that province are listed. "
            "In another province, that one's offices would be.",
        )
    names = list_provinces(provinces)
    return Text(
        f"Perangkat Anda kurang dari {radius_m:.0f} m dari batas {names.indonesian}, jadi kantor semua provinsi itu dapat dipakai.",
        f"Your device is within {radius_m:.0f} m of the border of {names.english}, so the offices of all of them may be used.",
    )


def explain_province(province: Province, nearest: tuple[Office, Province] | None) -> Text:
    """Explains a province requested by its code."""
    if nearest is not None:
        return _no_office(province, nearest)
    return Text(
        f"Anda menyebut {province.name_id}, jadi yang tampil adalah kantor di provinsi itu. "
        "Saat mendaftar, lokasi perangkat harus di provinsi itu juga.",
        f"You named {province.name_en}, so the offices of that province are listed. "
        "To book, the device has to be in that province too.",
    )


def explain_elsewhere(office: Office, office_province: Province, distance_km: float, here: Province) -> Text:
    """Explains why a nearby office is not offered, and when it would be."""
    return Text(
        f"{office.name} ({distance_km:.0f} km) berada di {office_province.name_id}, sedangkan lokasi Anda di "
        f"{here.name_id}. Kantor ini tampil bila Anda berada di {office_province.name_id}.",
        f"{office.name} ({distance_km:.0f} km) is in {office_province.name_en}, and you are in {here.name_en}. "
        f"It is listed when you are in {office_province.name_en}.",
    )


def list_provinces(provinces: Sequence[Province]) -> Text:
    """Returns the names of one or more provinces as a list."""
    return Text(
        _listed([province.name_id for province in provinces], "dan"),
        _listed([province.name_en for province in provinces], "and"),
    )


def _listed(names: Sequence[str], conjunction: str) -> str:
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _no_office(province: Province, nearest: tuple[Office, Province]) -> Text:
    office, its_province = nearest
    return Text(
        f"{province.name_id} belum mempunyai kantor imigrasi. Yang terdekat adalah {office.name} di "
        f"{its_province.name_id}; buka lagi saat Anda berada di {its_province.name_id}.",
        f"{province.name_en} has no immigration office. The nearest is {office.name} in {its_province.name_en}; "
        f"ask again when you are in {its_province.name_en}.",
    )
