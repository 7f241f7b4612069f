// What every reason code means for a person, and what to do about it. The codes are those of the contract.

export const REASONS = {
  "GR-001": ["No face was found in the picture.", "Use a photograph that shows a human face from the front."],
  "GR-002": ["Something may be a face, but not surely enough.", "Use a picture where the face is turned to the camera, well lit and not covered."],
  "GR-003": ["The face is too small to be judged.", "Use the original picture, or one taken closer; enlarging this one does not help."],
  "GR-004": ["The face is too blurry to be judged.", "Use a sharper picture; sharpening this one does not help."],
  "GR-005": ["The picture was compressed too heavily; the traces that would be judged are gone.", "Use the original file, not a copy from a messenger or a screenshot."],
  "GR-006": ["The whole picture is too small.", "Use the original file in its full size, not a thumbnail."],
  "GR-007": ["There are too many faces.", "Use a picture with fewer people, or cut it into several without scaling."],
  "MD-001": ["The model is not sure: the probability lies between the two limits.", "Try another picture of the same person, or have a person look at this one."],
  "MD-002": ["The model gave no usable number.", "This is a fault of the detector, not of your picture. Report it with the record below."],
  "IO-001": ["The file is damaged.", "Get the file again from where it came from; do not repair it."],
  "IO-002": ["This kind of file is not supported.", "Use a JPEG, PNG or WebP file, as the camera or site made it."],
  "IO-003": ["The file has too many bytes.", "Use a smaller file from the same source; saving it smaller yourself changes what is judged."],
  "IO-004": ["The picture has too many pixels.", "Cut out the part with the face without scaling it."],
  "IO-005": ["The picture is animated.", "Use a single photograph."],
  "IO-006": ["The file's content is of another kind than its name says.", "Check where the file comes from. If you trust it, give it the right ending."],
  "IO-007": ["The picture is transparent.", "Use the version without transparency."],
  "IO-008": ["The file ends too early.", "Transfer it again: the download or copy was cut off."],
  "IO-009": ["The file carries too much metadata.", "Use a file without large embedded data."],
  "IO-010": ["The file cannot be read.", "Check that it still exists and that you may open it."],
  "IO-011": ["The picture has 16 bits a channel.", "Use a version with 8 bits a channel."],
  "IO-012": ["The picture is in CMYK, the colours of print.", "Use the RGB version."],
  "IO-013": ["Other data follows the end of the picture.", "Use the file as the camera or site made it."],
  "PX-001": ["The picture did not reach the model as it must.", "This is a fault of the detector, not of your picture. Report it with the record below."],
  "SY-001": ["Something failed inside the detector.", "Try again. If it fails again, report it with the record below."],
};

export const ACTIONS = {
  request_retry: "Please try again with another picture.",
  manual_review: "A person should look at this picture before anybody acts on it.",
  block: "Treat this picture as not verified, and do not act on it.",
};

export function sentence(code) {
  return REASONS[code] ?? [`Reason ${code}.`, "Report it with the record below."];
}
