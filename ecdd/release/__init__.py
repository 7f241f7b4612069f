"""Whether a bundle may ship: approval from evidence, waivers, the approving report and its signature."""
