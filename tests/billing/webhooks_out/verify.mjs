// Verifies deliveries, one JSON object a line, with the receivers' own libraries.
import { readFileSync } from "node:fs";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const { secrets, deliveries } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const counts = { verified: 0, refused: 0 };

function refuses(verify) {
  try {
    verify();
  } catch {
    counts.refused += 1;
    return;
  }
  throw new Error("it was accepted");
}

for (const { headers, body } of deliveries) {
  for (const secret of secrets) {
    for (const Webhook of [Standard, Svix]) {
      const receiver = new Webhook(secret);
      receiver.verify(body, headers);
      counts.verified += 1;
      refuses(() => receiver.verify(`${body} `, headers));
      refuses(() => receiver.verify(body, { ...headers, "webhook-id": "msg_other" }));
    }
  }
}
console.log(JSON.stringify(counts));
