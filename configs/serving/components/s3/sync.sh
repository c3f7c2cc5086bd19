#!/bin/sh
# Keeps /models/$MODEL in step with $BUCKET/$MODEL. The server loads only what models.config names. So the versions are
# copied first, then models.config in one step; what has left the bucket is removed last.
set -eu
case $MODEL in
'' | .* | */*)
  echo "MODEL: expected the name of a model, found '$MODEL'." >&2
  exit 2
  ;;
esac
folder="${FOLDER:-/models}/$MODEL"
bucket="$BUCKET/$MODEL"
if [ -L "$folder" ]; then
  echo "$folder: expected a folder, found a link; remove it." >&2
  exit 2
fi
mkdir -p "$folder"

# A bucket holds no links, so others placed the ones that are found in the copy: `aws` would write through them and, with
# --delete, remove files there. Only those that are made below, in gpu/, stay. The image has no `find`.
remove_links() (
  for item in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -L "$item" ]; then
      echo "$item: removed, because it is a link that this script did not make." >&2
      rm -f "$item"
    elif [ -d "$item" ] && [ "$item" != "$folder/gpu" ]; then
      remove_links "$item"
    fi
  done
)

# Read before the versions, so that every version it names is in the bucket when the versions are copied.
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

# A key with `..` in it leads out of the folder, which not every release of `aws` notices; none of our versions has one.
sync_versions() {
  remove_links "$folder"
  aws s3 sync --only-show-errors --no-follow-symlinks "$@" \
    --exclude models.config --exclude 'gpu/*' --exclude '*..*' "$bucket" "$folder"
}

sync_once() {
  fetch_config && sync_versions || return
  mv "$folder/.models.config.new" "$folder/models.config"
  if [ -f "$folder/.gpu.models.config.new" ]; then
    link_versions
    mv "$folder/.gpu.models.config.new" "$folder/gpu/models.config"
  fi
  sync_versions --delete || return
  for link in "$folder"/gpu/[0-9]*; do
    [ -e "$link/saved_model.pb" ] || rm -f "$link"  # `aws` removes files and leaves the folders
  done
}

while :; do
  sync_once || echo "The copy of $BUCKET/$MODEL failed; the next attempt is in ${EVERY:-30} seconds." >&2
  [ "${ONCE:-}" ] && exit
  sleep "${EVERY:-30}"
done
