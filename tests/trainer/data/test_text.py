"""Packed blocks: nothing lost, EOS between documents, an order that a cursor resumes."""

import gzip
from pathlib import Path

import pytest
import torch

from feedback.errors import ConfigError, DataError, InvalidRow
from trainer.data.rows import BadRows
from trainer.data.text import TextBlocks, read_text_blocks, read_text_documents
from trainer.models.policies import load_policy, load_tokenizer
from trainer.stages.pretrain import mean_loss


def test_blocks_are_the_documents_each_ended_by_eos(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    documents = ["The fox lives.", "Name three.", "The owl sleeps by day."]
    (tmp_path / "t.txt").write_text("\n".join(documents))
    stream = []
    for document in documents:
        stream += [*tokenizer(document)["input_ids"], tokenizer.eos_token_id]
    blocks = read_text_blocks([tmp_path / "t.txt"], tokenizer, 4)
    assert len(blocks) == len(stream) // 4
    assert blocks.blocks_NT.flatten().tolist() == stream[: len(blocks) * 4]


def test_every_block_comes_once_an_epoch_in_a_new_order() -> None:
    blocks = TextBlocks(torch.arange(10).view(10, 1), seed=3)
    first, second = blocks.take_ids(10), blocks.take_ids(10)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_cursor_alone_resumes_the_stream() -> None:
    whole = TextBlocks(torch.arange(7).view(7, 1), seed=5)
    expected = [whole.take_ids(3) for _ in range(9)]
    for done in range(9):
        resumed = TextBlocks(torch.arange(7).view(7, 1), seed=5, cursor=3 * done)
        assert [resumed.take_ids(3) for _ in range(9 - done)] == expected[done:]


def test_seed_decides_the_order() -> None:
    orders = [TextBlocks(torch.arange(20).view(20, 1), seed=seed).take_ids(20) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_split_shares_no_block_and_loses_none() -> None:
    train, valid = TextBlocks(torch.arange(50).view(50, 1)).split(0.1)
    seen = train.blocks_NT.flatten().tolist() + valid.blocks_NT.flatten().tolist()
    assert sorted(seen) == list(range(50))
    assert len(valid) == 5
    assert len(TextBlocks(torch.arange(1).view(1, 1)).split(0.5)[0]) == 1


def test_too_little_text_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    (tmp_path / "t.txt").write_text("short\n")
    tokenizer = load_tokenizer(tiny_policy_dir)
    with pytest.raises(DataError, match="do not fill one block of 100"):
        read_text_blocks([tmp_path / "t.txt"], tokenizer, 100)
    with pytest.raises(ConfigError, match="block_tokens=1"):
        read_text_blocks([tmp_path / "t.txt"], tokenizer, 1)


@pytest.mark.parametrize("row", ['{"txt": "a"}', '{"text": ""}', '{"text": 3}', '{"text": null}'])
def test_row_without_text_is_named_or_skipped(tmp_path: Path, tiny_policy_dir: Path, row: str) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    (tmp_path / "t.jsonl").write_text('{"text": "a document long enough"}\n' + row + "\n")
    with pytest.raises(InvalidRow, match=r"t.jsonl:2: `text`"):
        read_text_blocks([tmp_path / "t.jsonl"], tokenizer, 4)
    bad = BadRows(skip=True)
    assert len(read_text_blocks([tmp_path / "t.jsonl"], tokenizer, 4, bad=bad)) > 0
    assert bad.count == 1


def test_pretrained_model_knows_the_text_it_was_trained_on(data_root: Path, stories_dir: Path) -> None:
    with pytest.warns(UserWarning, match="no padding token"):
        tokenizer = load_tokenizer(stories_dir)
    # The sample's line breaks are inside stories, so one line is no story: put the text back together.
    text = gzip.decompress((data_root / "text-tinystories-sample" / "stories.txt.gz").read_bytes()).decode()
    ids = torch.tensor(tokenizer(text[:20000])["input_ids"])
    blocks = ids[: len(ids) // 256 * 256].view(-1, 256)
    assert mean_loss(load_policy(stories_dir), TextBlocks(blocks), 16) < 1.9


def test_a_document_by_itself_is_one_block_ended_by_eos_or_cut(tiny_policy_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    path = tmp_path / "text.txt"
    path.write_text("The fox.\nThe fox lives in the green wood and eats berries.\n")
    whole = read_text_documents([path], tokenizer, 100)
    documents = [tokenizer(line)["input_ids"] + [tokenizer.eos_token_id] for line in path.read_text().splitlines()]
    assert sorted(whole.lengths_N.tolist()) == sorted(map(len, documents))
    for ids, length in zip(whole.blocks_NT, whole.lengths_N.tolist(), strict=True):
        assert ids[:length].tolist() in documents
        assert set(ids[length:].tolist()) <= {tokenizer.pad_token_id}
    cut = read_text_documents([path], tokenizer, 4)
    assert cut.lengths_N.max() == 4
    assert [ids[:4].tolist() in [d[:4] for d in documents] for ids in cut.blocks_NT] == [True, True]


def test_rows_come_without_columns_that_are_all_padding_and_keep_their_lengths() -> None:
    blocks = TextBlocks(torch.arange(12).view(3, 4), lengths_N=torch.tensor([2, 3, 2]))
    for _ in range(3):
        (ids,), (length,) = blocks.take_rows(1)
        assert ids.tolist() == blocks.blocks_NT[ids[0] // 4, :length].tolist()
    first, second = blocks.split(0.34)
    assert len(first.lengths_N) == 2
    assert len(second.lengths_N) == 1
