"""What a person does and sees in the browser: a package, so that one Chromium serves all of its tests and then ends."""
