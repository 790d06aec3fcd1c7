#!/usr/bin/env bash
# kagglesdk, with kaggle 2.2.4: one submission with a status it does not know ends the whole list.
#
# One would guess that a new word of the server's is kept as text, or becomes UNSPECIFIED, and that
# the other submissions are listed. Reading the reply raises KeyError, so that a script which looks
# whether its file has arrived before it sends it again sees nothing at all.
#
# Seen: KeyError for a page with one COMPLETE and one QUEUED submission; without it, 1 is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kaggle==2.2.4 six==1.17.0
cd "$folder"
venv/bin/python - <<'PYTHON'
from kagglesdk.competitions.types.competition_api_service import ApiListSubmissionsResponse as Page


def page(*states):
    return {"submissions": [{"ref": n, "status": state} for n, state in enumerate(states)]}


whole = len(Page.from_dict(page("COMPLETE")).submissions)
try:
    Page.from_dict(page("COMPLETE", "QUEUED"))
    seen = "no error"
except Exception as error:
    seen = type(error).__name__
print(seen, "for a page with one COMPLETE and one QUEUED submission; without it,", whole, "is read")
assert (seen, whole) == ("KeyError", 1)
PYTHON
