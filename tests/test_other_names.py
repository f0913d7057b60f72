"""Names that users of the public tools are used to: each is one of ours, or says what to write instead."""

import pytest

from remdm import cli
from remdm.base.errors import ConfigError
from remdm.commands.other_names import FLAGS, our_preset, table, translated
from remdm.config.layers import ALL_KEYS, configs_folder, file_layer
from remdm.config.stages import STAGES
from tests.conftest import REPOSITORY

OF_MODES = {"arms": "ablations"}  # flags of ours that are no keys


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("--mode offline --lr 1", "offline --lr 1"),
        ("--lr 1 --mode=offline", "offline --lr 1"),
        ("inference --checkpoint a=b", "inference --checkpoint_path a=b"),
        ("inference --checkpoint=a", "inference --checkpoint_path=a"),
        ("online --ppo_checkpoint a --resume b", "online --ppo_checkpoint_path a --resume_checkpoint_path b"),
        ("collect --data a", "collect --offline_data_path a"),
        ("ablations --ablations lora ewc --num_seeds 3", "ablations --arms lora ewc --num_seeds 3"),
        ("ablations --analyze_only", "ablations --analyze_only"),
        ("online --num_seeds 3", "online --num_repeats 3"),
        ("offline --total_timesteps 1e6", "offline --offline_total_timesteps 1e6"),
        ("ppo --total_timesteps 1e6 --gamma=0.9", "ppo --ppo_total_timesteps 1e6 --ppo_gamma=0.9"),
        ("offline --lr 1", "offline --lr 1"),
        ("ppo --max_grad_norm 1", "ppo --ppo_max_grad_norm 1"),
        ("offline --override LR=1 use_loop=false --seed 1", "offline --lr=1 --use_loop=false --seed 1"),
        ("offline --override=lr=1 --override eta=2", "offline --lr=1 --eta=2"),
        ("offline --config final_craftax_classic_ucl", "offline --config final_classic_ucl"),
        ("offline --config=final_craftax_classic_qmul", "offline --config=final_classic_qmul"),
        ("params craftax_classic_exp_d_100K_model demo", "params classic_exp_d_100K demo"),
        # A folder may be called as it likes.
        ("offline --output final_craftax_classic_ucl", "offline --output final_craftax_classic_ucl"),
        ("", ""),
        ("--mode", ""),
        ("--help", "--help"),
    ],
)
def test_calls_in_other_names(theirs, ours):
    assert translated(theirs.split()) == ours.split()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("offline --data x.npz", "--data: write --ppo_checkpoint_path: planners learn from a live expert"),
        ("inference --num_seeds 3", "--num_seeds: write one call for each --seed"),
        ("ppo --no_anneal_lr", "--no_anneal_lr: write nothing: ppo_lr always decays"),
        ("ppo --activation=tanh", "--activation: write nothing: --ppo_model_type decides it"),
        ("offline --override lr", "--override lr: write KEY=VALUE"),
        ("offline --override --lr 1", "--override : write KEY=VALUE"),
    ],
)
def test_what_has_no_meaning_here_says_what_to_write(call, message):
    with pytest.raises(ConfigError) as refused:
        translated(call.split())
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("--mode offline --override lrr=1", "unknown flag --lrr (did you mean --lr"),
        ("offline --override LR=fast", "command line: lr = 'fast'"),
        ("inference --resume x", "--resume_checkpoint_path: has no effect in this mode"),
        ("offline --ppo-checkpoint /nowhere", "ppo_checkpoint_path = /nowhere: no such folder"),
        ("--mode", "the following arguments are required: MODE"),
    ],
)
def test_the_command_takes_them(call, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(call.split()) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("final_craftax_classic_ucl", "final_classic_ucl"),
        ("final_craftax_classic_qmul", "final_classic_qmul"),
        ("classic_exp_d_850K_model", "classic_exp_d_850K"),
        ("craftax_exp_d_7M_model", "craftax_exp_d_7M"),
        ("craftax_classic_exp_d_3M_model", "classic_exp_d_3M"),
    ],
)
def test_presets_of_other_names_are_there(theirs, ours):
    assert our_preset(theirs) == ours
    assert (configs_folder() / f"{ours}.yaml").is_file()


def test_our_own_presets_keep_their_names():
    for path in configs_folder().glob("*.yaml"):
        assert our_preset(path.stem) == path.stem


def test_other_names_hide_none_of_ours_and_stand_for_one():
    for other in FLAGS:
        assert bool(other.ours) != bool(other.instead)
        for mode in other.modes or STAGES:
            assert other.theirs not in STAGES[mode].model.owners()
        if other.ours and other.ours not in OF_MODES:
            assert other.ours in ALL_KEYS
            for mode in other.modes:
                assert other.ours in STAGES[mode].model.owners()


def test_capitals_in_files_are_the_same_keys(tmp_path):
    path = tmp_path / "theirs.yaml"
    path.write_text("LR: 1e-3\nENV_NAME: Craftax-Symbolic-v1\nplan_horizon: 8\n")
    assert dict(file_layer(path).values) == {"lr": 1e-3, "env_name": "Craftax-Symbolic-v1", "plan_horizon": 8}
    path.write_text("LR: 1e-3\nlr: 1e-2\n")
    with pytest.raises(ConfigError, match="lr: given twice, once in capitals; drop one"):
        file_layer(path)
    path.write_text("LRR: 1e-3\n")
    with pytest.raises(ConfigError, match=r"lrr: unknown key \(did you mean lr"):
        file_layer(path)


def test_help_and_the_page_name_them_all(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    page = (REPOSITORY / "docs" / "coming-from.md").read_text()
    assert all(line in shown for line in table())
    assert max(map(len, table())) <= 80
    for other in FLAGS:
        if other.ours:
            assert f"--{other.theirs}" in shown
        assert f"`--{other.theirs}" in page.replace("-", "_").replace("`__", "`--"), other.theirs
