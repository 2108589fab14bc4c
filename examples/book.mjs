// Books a place with Node: @grpc/grpc-js and @grpc/proto-loader, which reads protos/ as it is.
//
// Run it in this folder, while `.venv/bin/antrian up --clock open` runs:
//
//     npm install
//     node book.mjs [HOST:PORT]

import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const target = process.argv[2] ?? "127.0.0.1:7700";
const protos = fileURLToPath(new URL("../protos", import.meta.url));
const files = ["antrian/v1/booking_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"];
const definition = protoLoader.loadSync(files, {
  includeDirs: [protos, `${protos}/vendor`],
  keepCase: true,
  longs: String,
  enums: String,
});
const { BookingService } = grpc.loadPackageDefinition(definition).antrian.v1;
const service = new BookingService(target, grpc.credentials.createInsecure());

const metadata = new grpc.Metadata(); // with a callers file also: metadata.set("authorization", "Bearer TOKEN")
metadata.set("accept-language", "en");

// call: one rpc with a deadline.
const call = (rpc, request, seconds = 5) =>
  promisify(service[rpc].bind(service))(request, metadata, { deadline: Date.now() + 1000 * seconds });

// explain: the reason, by which programs decide, and the message, which people read.
function explain(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = bytes ? definition["google.rpc.Status"].deserialize(bytes).details : [];
  const detail = (type) => {
    const found = details.find(({ type_url }) => type_url.endsWith(type));
    return found && definition[type].deserialize(found.value);
  };
  const reason = detail("google.rpc.ErrorInfo")?.reason ?? grpc.status[error.code];
  return `${reason}: ${detail("google.rpc.LocalizedMessage")?.message ?? error.details}`;
}

// Retries while nobody knows what became of the request. A retry has the same request_id, so it never books twice.
async function requestBooking(request) {
  for (const pause of [200, 500, 1000, 2000, 4000]) {
    try {
      return await call("RequestBooking", request);
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE && error.code !== grpc.status.DEADLINE_EXCEEDED) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return call("RequestBooking", request);
}

try {
  const quota = await call("GetQuota", { office_id: "kanim-bogor" });
  const account = "tono";
  const { booking } = await requestBooking({
    request_id: randomUUID(),
    account,
    office_id: "kanim-bogor",
    service_date: quota.window.first_date,
    session: "SESSION_MORNING",
    applicants: [{ nik: "3271010708880005", full_name: "Tono Wijaya" }],
    location: { latitude: -6.595, longitude: 106.8167, accuracy_m: 20 },
  });
  // The server answers when the booking is decided, after 20 s at the latest.
  const outcome = await call("GetBooking", { booking_id: booking.booking_id, account, wait: { seconds: 20 } }, 25);
  console.log(`${outcome.booking.state}: queue numbers ${outcome.booking.queue_numbers}, code ${outcome.booking.code}`);
} catch (error) {
  console.log(`refused: ${explain(error)}`);
  process.exitCode = 1;
} finally {
  service.close();
}
