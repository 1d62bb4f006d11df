"""From a data set's own files to folders of conversations, and back to rows that a trainer reads.

tables          csv and JSON files, read strictly
builder         what every builder shares: options, rows of a shard, clips by name, rejected rows
questions       which questions an annotation answers
folder, spool   a folder of conversations, written whole or not at all
reading         a split of a folder, the root of its clips, shards
dialogues       turns by number, earlier turns, times of utterances
subtitles, descriptions     tables that several data sets of the MER series share
dataset_cards, label_forms  what a card says about a table-shaped data set, and how its rows hold labels
checks/, report what is wrong with data folders together
ask, exchange   other questions about built data; the forms of other trainers
"""
