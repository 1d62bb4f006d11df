"""From a data set's own files to folders of conversations, and back to rows that a trainer reads.

reading files      tables (csv, JSON), nested (rows deep in a JSON file), dialogues, subtitles, descriptions
data sets          data_sets (what the list says), dataset_cards, label_forms, card_sources, card_rows
building           builder (what builders share), questions, folder, spool
reading folders    reading (a split, the root of its clips, shards), report (over checks/)
built data         ask (other questions), exporting and importing (forms of other trainers)
"""
