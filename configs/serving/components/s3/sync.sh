#!/bin/sh
# Keeps /models/$MODEL like $BUCKET/$MODEL. The server loads what models.config names and nothing else; so the versions
# are copied first, models.config after them and in one step, and what is gone from the bucket is removed last.
set -eu
folder="${FOLDER:-/models}/$MODEL"
bucket="$BUCKET/$MODEL"
mkdir -p "$folder"

# Read before the versions, so that it names none that is not in the bucket yet when these are copied.
fetch_config() {
  aws s3 cp --only-show-errors "$bucket/models.config" "$folder/.models.config.new" || return
  ! aws s3 ls "$bucket/gpu/models.config" >/dev/null ||
    aws s3 cp --only-show-errors "$bucket/gpu/models.config" "$folder/.gpu.models.config.new"
}

# A bucket has no links: gpu/<version> is made here, the export for GPUs where there is one, else the portable one.
link_versions() {
  mkdir -p "$folder/gpu"
  for version in "$folder"/[0-9]*; do
    number="${version##*/}"
    if [ -f "$version/gpu/saved_model.pb" ]; then target="../$number/gpu"; else target="../$number"; fi
    ln -sfn "$target" "$folder/gpu/$number"
  done
}

sync_once() {
  fetch_config &&
    aws s3 sync --only-show-errors --exclude models.config --exclude 'gpu/*' "$bucket" "$folder" || return
  mv "$folder/.models.config.new" "$folder/models.config"
  if [ -f "$folder/.gpu.models.config.new" ]; then
    link_versions
    mv "$folder/.gpu.models.config.new" "$folder/gpu/models.config"
  fi
  aws s3 sync --only-show-errors --delete --exclude models.config --exclude 'gpu/*' "$bucket" "$folder" || return
  for link in "$folder"/gpu/[0-9]*; do
    [ -e "$link/saved_model.pb" ] || rm -f "$link"  # `aws` removes files and leaves the folders
  done
}

while :; do
  sync_once || echo "The copy of $BUCKET/$MODEL failed; the next attempt is in ${EVERY:-30} seconds." >&2
  [ "${ONCE:-}" ] && exit
  sleep "${EVERY:-30}"
done
