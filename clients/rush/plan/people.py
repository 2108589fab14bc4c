"""Synthetic citizens: made-up names, and NIKs that are well-formed but belong to nobody."""

from random import Random

from antrian.v1.messages_pb2 import Applicant

_FIRST = """Adi Agus Ahmad Andi Anisa Arif Ayu Bagus Bambang Bayu Budi Citra Dedi Desi Dewi Dian Dimas Dwi Eka Eko Endang
Fajar Fitri Galih Gita Hadi Hana Hendra Herman Ika Indah Indra Intan Irfan Joko Kartika Kurnia Lestari Lina Made Maya
Mega Nanda Ni Novi Nur Putri Rahmat Ratna Reza Rina Rini Rizki Rudi Sari Sinta Siti Slamet Sri Surya Teguh Tri Umi
Vina Wahyu Wati Wayan Yanti Yoga Yudi Yuni Yusuf Zahra""".split()  # noqa: SIM905
_LAST = """Anggraini Aritonang Astuti Firmansyah Ginting Gunawan Handayani Harahap Hartono Hidayat Iskandar Kusuma
Lubis Mahendra Manurung Maulana Nasution Nugroho Pangestu Permana Pertiwi Pratama Purnama Purwanto Rahayu Rahman
Ramadhan Saputra Saragih Setiawan Sihombing Simanjuntak Siregar Situmorang Suharto Sulistyo Susanti Susilo Sutrisno
Syahputra Utami Wibowo Wicaksono Widodo Wijaya Wulandari Yulianti""".split()  # noqa: SIM905

_DISTRICTS, _SUBDISTRICTS, _DAYS, _MONTHS, _YEARS, _SERIALS = 30, 20, 28, 12, 40, 1000
_NIKS = _DISTRICTS * _SUBDISTRICTS * 2 * _DAYS * _MONTHS * _YEARS * _SERIALS
# It is coprime to _NIKS (whose primes are 2, 3, 5 and 7), so that all numbers below _NIKS have different NIKs.
_STRIDE = 9_999_999_967


class People:
    """The people of a seed. Each number is a person with a unique NIK."""

    def __init__(self, seed: int) -> None:
        self._first = Random(seed).randrange(_NIKS)  # noqa: S311 - must be reproducible

    def person(self, number: int, nik_code: str) -> Applicant:
        """Returns the person of a number, with a NIK of the province with that code."""
        rest, serial = divmod((number * _STRIDE + self._first) % _NIKS, _SERIALS)
        rest, year = divmod(rest, _YEARS)
        rest, month = divmod(rest, _MONTHS)
        rest, day = divmod(rest, _DAYS)
        rest, woman = divmod(rest, 2)
        district, subdistrict = divmod(rest, _SUBDISTRICTS)
        # Serial numbers count one district's births of one day, so no real NIK comes near 9000.
        nik = (
            f"{nik_code}{district + 1:02}{subdistrict + 1:02}"
            f"{day + 1 + woman * 40:02}{month + 1:02}{year + 60:02}{serial + 9000}"
        )
        return Applicant(nik=nik, full_name=f"{_FIRST[serial % len(_FIRST)]} {_LAST[(day + month) % len(_LAST)]}")
