#!/bin/sh
# Keeps /models/$MODEL like $BUCKET/$MODEL. The server loads what models.config names and nothing else; so the versions
# are copied first, models.config after them and in one step, and what is gone from the bucket is removed last.
set -eu
folder="${FOLDER:-/models}/$MODEL"
mkdir -p "$folder"
sync_once() {
  # Read before the versions, so that it names none that is not in the bucket yet when these are copied.
  aws s3 cp --only-show-errors "$BUCKET/$MODEL/models.config" "$folder/.models.config.new" &&
    aws s3 sync --only-show-errors --exclude models.config "$BUCKET/$MODEL" "$folder" &&
    mv "$folder/.models.config.new" "$folder/models.config" &&
    aws s3 sync --only-show-errors --delete --exclude models.config "$BUCKET/$MODEL" "$folder"
}
while :; do
  sync_once || echo "The copy of $BUCKET/$MODEL failed; the next attempt is in ${EVERY:-30} seconds." >&2
  [ "${ONCE:-}" ] && exit
  sleep "${EVERY:-30}"
done
