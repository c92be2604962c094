"""Raw inputs and their files: parallel text, labelled texts, images, tables, data sets of the hub."""
