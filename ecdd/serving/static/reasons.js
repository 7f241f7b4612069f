// What a person reads about a verdict: each reason code, and the contract's action on abstaining.
// The server writes reason_codes.js from ecdd.pipeline.reason_codes.

import { REASONS } from "./reason_codes.js";

export const ACTIONS = {
  request_retry: "Please try again with another picture.",
  manual_review: "A person should look at this picture before anybody acts on it.",
  block: "Treat this picture as not verified, and do not act on it.",
};

export function sentence(code) {
  return REASONS[code] ?? [`Reason ${code}.`, "Report it with the record below."];
}
