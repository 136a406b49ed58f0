"""What is made of a rehearsal: explanations, text, report.json, report.html."""
