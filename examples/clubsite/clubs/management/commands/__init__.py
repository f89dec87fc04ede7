"""The commands of the site: one file each, named as it is typed."""
