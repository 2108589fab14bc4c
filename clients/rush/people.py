"""Synthetic citizens: made-up names, and NIKs that are valid in form and nobody's."""

from collections.abc import Sequence
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


class People:
    """Makes people, no NIK twice."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._niks: set[str] = set()

    def party(self, size: int, nik_code: str) -> Sequence[Applicant]:
        """So many people whose NIKs were issued in the province of that code."""
        return [Applicant(nik=self._nik(nik_code), full_name=self._name()) for _ in range(size)]

    def _name(self) -> str:
        return f"{self._rng.choice(_FIRST)} {self._rng.choice(_LAST)}"

    def _nik(self, code: str) -> str:
        pick = self._rng.randint
        while True:
            day = pick(1, 28) + pick(0, 1) * 40
            # Serial numbers count one district's births of one day, so no real NIK comes near 9000.
            nik = f"{code}{pick(1, 30):02}{pick(1, 20):02}{day:02}{pick(1, 12):02}{pick(60, 99):02}{pick(9000, 9999)}"
            if nik not in self._niks:
                self._niks.add(nik)
                return nik
