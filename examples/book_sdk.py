"""Books a place with the Python SDK, which sets deadlines and retries under the same request_id.

Run it from the root of the repository, while `.venv/bin/antrian up --clock open` runs:

    .venv/bin/python -m examples.book_sdk [HOST:PORT]
"""

import asyncio
import sys
from datetime import date

from clients.sdk.booking_client import SESSION_MORNING, Applicant, BookingClient, Location, RefusedError

ACCOUNT = "sari"


async def main(target: str) -> int:
    """Books for two people, waits for the outcome and prints it. Returns the exit code."""
    async with BookingClient(target, english=True) as antrian:
        try:
            quota = await antrian.get_quota("kanim-bandung")
            booking = await antrian.request_booking(
                account=ACCOUNT,
                office_id="kanim-bandung",
                service_date=date.fromisoformat(quota.window.first_date),
                session=SESSION_MORNING,
                applicants=[
                    Applicant(nik="3273015503910001", full_name="Sari Anggraini"),
                    Applicant(nik="3273011502890002", full_name="Dedi Anggraini"),
                ],
                whereabouts=Location(latitude=-6.9147, longitude=107.6098, accuracy_m=20),
            )
            booking = await antrian.outcome(booking.booking_id, ACCOUNT)
        except RefusedError as refusal:
            print(f"refused: {refusal.reason}: {refusal.message}")
            return 1
        if not booking.queue_numbers:
            print(f"rejected: {booking.status_message_en}")
            return 1
        print(f"confirmed: queue numbers {list(booking.queue_numbers)}, code {booking.code}")
        return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:] or ["127.0.0.1:7700"])))
