#!/usr/bin/env bash
# Books a place over HTTP with curl, through the gateway.
#
# Run it while `.venv/bin/antrian up --clock open` runs:
#
#     examples/book.sh [HOST:PORT]

set -euo pipefail
gateway="http://${1:-127.0.0.1:7780}"
office=kanim-bogor
account=rini

# field NAME: the first string of that name in the JSON on standard input.
field() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }

day=$(curl --silent --show-error "$gateway/v1/offices/$office/quota" | field firstDate)

# The key is made once for a booking. Send the same one again if no answer came: it never books twice.
key=$(cat /proc/sys/kernel/random/uuid)
answer=$(curl --silent --show-error "$gateway/v1/bookings" -H "Idempotency-Key: $key" -H 'Accept-Language: en' --json '{
  "account": "'"$account"'", "officeId": "'"$office"'", "serviceDate": "'"$day"'", "session": "SESSION_MORNING",
  "location": {"latitude": -6.5950, "longitude": 106.8167},
  "applicants": [{"nik": "3271015204930004", "fullName": "Rini Wulandari"}]}')
booking=$(field bookingId <<<"$answer" || true)
if [ -z "$booking" ]; then
  echo "refused: $(field reason <<<"$answer"): $(field message <<<"$answer")"
  exit 1
fi

# The gateway answers when the booking is decided, after 20 s at the latest.
outcome=$(curl --silent --show-error "$gateway/v1/bookings/$booking?account=$account&wait=20s")
echo "$(field state <<<"$outcome"): code $(field code <<<"$outcome")"
