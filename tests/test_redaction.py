"""What is hidden in settings, commands and texts, and what stays visible."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.redaction import HIDDEN, is_secret_name, redacted, redacted_command, redacted_text

SECRET_NAMES = """
    hub_token --hub-token HF_TOKEN token wandb_api_key --wandb-api-key WANDB_API_KEY apiKey APIKey api_keys apikey
    secret client_secret clientSecret passwd password db_password pwd passphrase auth basic_auth Authorization
    Proxy-Authorization X-Auth-Token credentials creds access_key AWS_ACCESS_KEY_ID aws_secret_access_key private_key
    ssh_key cookie Set-Cookie access_token refresh_tokens bearer use_token db_pass DB_PASS smtp-pass userpass oauth
    oauth2 jwt session_id sessionid session_key PHPSESSID sig X-Amz-Signature x-goog-signature webhook_url github_pat
    SharedAccessSignature AWSAccessKeyId x-functions-key
"""
OTHER_NAMES = """
    max_new_tokens thinking_token
    tool_call_token end_of_turn_token token_entropy auth_type eos_token eos_token_ids pad_token_id bos_token
    token_budget num_tokens tokenizer tokenizer_name
    token_type_ids cls_token special_tokens average_tokens_across_devices include_num_input_tokens_seen author authors
    key keys sort_key keyboard key_column label_key monkey passing hub_private_repo max_completion_length secretary
    pass pass_rate pass_at_k second_pass num_passes signature signature_columns sign session sessions pattern code
    policy significant signal
"""

# None of these may be seen again, wherever it stands.
SECRETS = [
    "hf_0123456789abcdef",
    "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH",
    "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "gho_0123456789abcdefghij",
    "github_pat_11ABCDEFG0_abcdefghijklmnop",
    "glpat-abcdefghij0123456789",
    "sk-abcdefghijklmnop0123",
    "sk-proj-abcdEFGH0123ijkl",
    "sk-ant-api03-abcdEFGH0123",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-123456789012-abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "gsk_abcdEFGH0123ijklMNOP",
    "nvapi-abcdEFGH0123ijklMNOP",
    "r8_abcdEFGH0123ijklMNOP",
    "SG.abcdEFGH0123.ijklMNOP-4567",
    "rk_live_abcdEFGH0123ijkl",
    "sk_live_abcdEFGH0123ijkl",
    "whsec_abcdEFGH0123ijkl",
]
TEXTS = [
    ("http://u:pw@h:1/x", "http://HIDDEN@h:1/x"),
    ("https://token@h/x", "https://HIDDEN@h/x"),
    ("https://u:p@w/d@h/x", "https://HIDDEN@h/x"),
    ("https://u:p/w@h/x", "https://HIDDEN@h/x"),
    ("https://h:8000/a@b", "https://h:8000/a@b"),
    ("a postgresql://u:pw@h/db, b", "a postgresql://HIDDEN@h/db, b"),
    ("https://h/x?token=abc&rows=5", "https://h/x?token=HIDDEN&rows=5"),
    ("Authorization: Bearer abc", "Authorization: HIDDEN"),
    ("authorization=Basic dTpw", "authorization=HIDDEN"),
    ("curl -u me:pw http://host", "curl -u HIDDEN http://host"),
    ("docker run -u 1000:1000 image", "docker run -u 1000:1000 image"),
    ("{'Authorization': 'Token abc'}", "{'Authorization': 'HIDDEN'}"),
    ("Cookie: session=abc", "Cookie: HIDDEN"),
    ("Bearer abc.def", "Bearer HIDDEN"),
    ("Basic dTpw", "Basic HIDDEN"),
    ("password=abc", "password=HIDDEN"),
    ('{"api_key": "abc def", "seed": 1}', '{"api_key": "HIDDEN", "seed": 1}'),
    ("grpo.py --passwd=abc", "grpo.py --passwd=HIDDEN"),
    ("WANDB_API_KEY=abc", "WANDB_API_KEY=HIDDEN"),
    # signed addresses of data
    (
        "https://acct.blob.core.windows.net/c/t.parquet?sv=2022&sig=aB%2Fc%3D&sp=r",
        "https://acct.blob.core.windows.net/c/t.parquet?sv=2022&sig=HIDDEN&sp=r",
    ),
    ("https://b.s3.amazonaws.com/t?X-Amz-Signature=abc", "https://b.s3.amazonaws.com/t?X-Amz-Signature=HIDDEN"),
    ("https://b.s3.amazonaws.com/t?a=1&Signature=ab/c+d=", "https://b.s3.amazonaws.com/t?a=1&Signature=HIDDEN"),
    ("https://h/t?X-Goog-Signature=abc&x=1", "https://h/t?X-Goog-Signature=HIDDEN&x=1"),
    ("https://h/t?Policy=abc&Key-Pair-Id=x", "https://h/t?Policy=HIDDEN&Key-Pair-Id=x"),
    ("https://h/t?a=1&amp;sig=abc", "https://h/t?a=1&amp;sig=HIDDEN"),
    ("https://h/t?key=abc&code=abc&jwt=abc", "https://h/t?key=HIDDEN&code=HIDDEN&jwt=HIDDEN"),
    ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/HIDDEN"),
    ("https://discord.com/api/webhooks/1/abc?wait=1", "https://discord.com/api/webhooks/HIDDEN?wait=1"),
    ("https://api.telegram.org/bot1:abc/sendMessage", "https://api.telegram.org/botHIDDEN"),
    ("https://user:123/abc@host/", "https://HIDDEN@host/"),
    ("https://user:123/abc@host.org", "https://HIDDEN@host.org"),
    ("https://10.0.0.1:8000/a@b/c", "https://10.0.0.1:8000/a@b/c"),
    ("http://localhost:8000/a@b/c", "http://localhost:8000/a@b/c"),
    ("https://h/x?token=abc https://u:p@h/", "https://h/x?token=HIDDEN https://HIDDEN@h/"),
    # names and values of other forms
    ("DB_PASS=abc", "DB_PASS=HIDDEN"),
    ("session_id=abc; path=/", "session_id=HIDDEN; path=/"),
    ("grpo.py --token abc --seed 1", "grpo.py --token HIDDEN --seed 1"),
    ("grpo.py --use_token --seed 1", "grpo.py --use_token --seed 1"),
    ("1.password=abc", "1.password=HIDDEN"),
    ("...password=abc", "...password=HIDDEN"),
    ('{"token": ["abc", "d]e"], "seed": 1}', '{"token": ["HIDDEN", "HIDDEN"], "seed": 1}'),
    (
        '{"auth": {"a": {"b": "abc"}, "c": "abc"}, "seed": 1}',
        '{"auth": {"a": {"b": "HIDDEN"}, "c": "HIDDEN"}, "seed": 1}',
    ),
    ("{'auth': {'on': True, 'pin': 12}}", "{'auth': {'on': True, 'pin': HIDDEN}}"),
    ('{"token": ["abc"', '{"token": ["HIDDEN"'),
    (r"{\"api_key\": \"abc \\\"def\", \"seed\": 1}", r"{\"api_key\": \"HIDDEN\", \"seed\": 1}"),
    ('api_key="abc', 'api_key="HIDDEN"'),
    # lists and objects behind names of headers, and in YAML; a name without a value in front of another one
    ('{"Authorization": ["abc", "def"]}', '{"Authorization": ["HIDDEN", "HIDDEN"]}'),
    ('{"Cookie": {"a": "abc"}}', '{"Cookie": {"a": "HIDDEN"}}'),
    ("token: [abc1, def2]", "token: [HIDDEN, HIDDEN]"),
    ("hub_token:\npassword: abc1\nseed: 1", "hub_token:\npassword: HIDDEN\nseed: 1"),
    ("hub_token = api_key = abc", "hub_token = api_key = HIDDEN"),
    # passwords with blanks
    ("password=correct horse battery", "password=HIDDEN"),
    ("password=correct horse; seed=1", "password=HIDDEN; seed=1"),
    ("password=correct horse seed=1", "password=HIDDEN seed=1"),
    ("DB_PASS=correct horse --seed 1\nnext", "DB_PASS=HIDDEN --seed 1\nnext"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc=\n-----END RSA PRIVATE KEY-----", "HIDDEN"),
]
ORDINARY = [
    "https://huggingface.co/datasets/x",
    "http://h:8000/v1?rows=5",
    "me@host.org",
    "runs/hf_datasets",
    "Qwen/Qwen3Guard-Gen-0.6B",
    "Basic English",
    "the bearer of news",
    "eos_token=<|im_end|>",
    "max_new_tokens: 128",
    "guard_reward.tiny.oracle.oracle_helpfulness",
    "6d5e3c1f0a9b8d7e6f5a4b3c2d1e0f9a8b7c6d5e",  # a commit
    "ask-no-questions-2026-11-26",
    "pass_rate=0.5",
    "signature: (prompt, response)",
    "pass=1",
    "key=abc",
    "--eos_token <|im_end|>",
    "https://h/x?revision=main&signal=2",
    "the token: what it costs",
    "sk_learn_datasets",
    "https://hooks.slack.com/",
]


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES.split())
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(("text", "kept"), TEXTS)
def test_secrets_in_texts(text: str, kept: str) -> None:
    assert redacted_text(text) == kept


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_stay(text: str) -> None:
    assert redacted_text(text) == text
    assert redacted({"where": [text]}) == {"where": [text]}
    assert redacted_command(["grpo.py", "--option", text, f"--other={text}"])[1:] == [
        "--option",
        text,
        f"--other={text}",
    ]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "a {} b", "'{}'", "x={},y", "https://h/{}", "https://u:{}@h/x", "a-{}"])
def test_a_token_of_a_known_form_is_hidden_wherever_it_stands(secret: str, around: str) -> None:
    text = around.format(secret)
    nested = {"a": [{"b": (text, 1)}], text: None}
    for kept in (
        redacted_text(text),
        json.dumps(redacted(nested)),
        *redacted_command(["grpo.py", "--x", text]),
        *redacted_command(["grpo.py", f"--x={text}"]),
        *redacted_command(["grpo.py", "--x", json.dumps(nested)]),
    ):
        assert secret not in kept


def test_everything_under_a_secret_name_is_hidden_but_whether_there_is_something() -> None:
    settings = {
        "headers": {"Authorization": "abc", "Accept": "text"},
        "auth": {"user": "abc", "pins": [1, 2.5], "on": True, "off": None},
        "token_budget": 4096,
        "eos_token_ids": [1, 2],
    }
    assert redacted(settings) == {
        "headers": {"Authorization": HIDDEN, "Accept": "text"},
        "auth": {"user": HIDDEN, "pins": [HIDDEN, HIDDEN], "on": True, "off": None},
        "token_budget": 4096,
        "eos_token_ids": [1, 2],
    }


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"headers": [["X-Api-Key", "abc"], ["Accept", "x"]]}, {"headers": [["X-Api-Key", HIDDEN], ["Accept", "x"]]}),
        ([("Authorization", "abc")], [["Authorization", HIDDEN]]),
        ({"name": "api_key", "value": "abc"}, {"name": "api_key", "value": HIDDEN}),
        ({"Key": "DB_PASS", "Value": ["abc"]}, {"Key": "DB_PASS", "Value": [HIDDEN]}),
        ({"name": "seed", "value": 1}, {"name": "seed", "value": 1}),
        ({"args": ["--args", "--token abc"]}, {"args": ["--args", "--token HIDDEN"]}),
        ({"args": ["--token", "abc", "--seed", "1"]}, {"args": ["--token", HIDDEN, "--seed", "1"]}),
        ({"files": ["https://h/t?sig=abc"]}, {"files": ["https://h/t?sig=HIDDEN"]}),
        (["eos_token", "pad_token"], ["eos_token", "pad_token"]),
        (["my password is a secret", "Tell me."], ["my password is a secret", "Tell me."]),
    ],
)
def test_names_and_values_that_stand_side_by_side(value: Any, kept: Any) -> None:
    assert redacted(value) == kept


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "hf_",
            "eyJaaaa.",
            "eyJaaaa-",
            "a:",
            "token:",
            "token: ",
            "api_org_",
            "sk_",
            "sk-a-",
            "//a:",
            "//a@",
            "//1:2/",
        ),
        *(
            "token:[",
            '"token":[',
            'token:"',
            "a:'",
            '\\"a:',
            '\\"token\\":\\"',
            "--token ",
            "password=a ",
            "a.",
            "SG.aaaaaa",
            "a-",
        ),
        *("-----BEGIN ", "basic aaaa", "bearer ", "authorization:", "cookie: ", "?key=", "token=", "[", "A", "é", " "),
        *("//hooks.slack.com/services/", "github_pat_", "wandb_v1_", "_", "-", ".", "\\", '"', "\n", "xoxb-", "0"),
    ],
)
def test_the_time_is_linear(unit: str) -> None:
    redacted(["warm up"])
    short, long = (min(_seconds(unit * (size // len(unit))) for _ in range(2)) for size in (4_000, 32_000))
    # Eight times the text: eight times the time, and 64 times with a quadratic pattern. Some milliseconds are noise.
    assert long < 24 * short + 0.05, (short, long)


def _seconds(text: str) -> float:
    """Processor time."""
    start = time.process_time()
    redacted_text(text)
    redacted([text])
    redacted_command(["grpo.py", text, f"--x={text}"])
    return time.process_time() - start


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("--use_token --wandb_api_key abc", "--use_token --wandb_api_key HIDDEN"),
        ("--use_token --seed 1 --wandb_api_key abc", "--use_token --seed 1 --wandb_api_key HIDDEN"),
        ("--wandb_api_key=abc --seed 1", "--wandb_api_key=HIDDEN --seed 1"),
        ("--hub_token --abc --seed 1", "--hub_token HIDDEN --seed 1"),
        ("--api_keys abc abcd --seed 1", "--api_keys HIDDEN HIDDEN --seed 1"),
        ("--passwd abc --auth abc --credentials abc", "--passwd HIDDEN --auth HIDDEN --credentials HIDDEN"),
        ("--access_key abc --private-key abc", "--access_key HIDDEN --private-key HIDDEN"),
        ("-token abc", "-token HIDDEN"),
        ("--db_pass abc --oauth abc", "--db_pass HIDDEN --oauth HIDDEN"),
        ("--beta -0.5 --max_new_tokens 8", "--beta -0.5 --max_new_tokens 8"),
        ("password=abc", "password=HIDDEN"),
        ("--hub_token", "--hub_token"),
        ("--use_token --hub_token", "--use_token --hub_token"),
        ("--use_token --hub_token=abc", "--use_token --hub_token=HIDDEN"),
        ("--use_token true --hub_token abc", "--use_token HIDDEN --hub_token HIDDEN"),
        ("--push_to_hub --hub_token abc", "--push_to_hub --hub_token HIDDEN"),
        ("--seed 1 --hub_token abc --seed 1", "--seed 1 --hub_token HIDDEN --seed 1"),
    ],
)
def test_commands(words: str, kept: str) -> None:
    assert redacted_command(words.split(), options={"seed", "hub_token"}) == kept.split()


def test_options_in_one_word() -> None:
    assert redacted_command(["--args", "--token abc", "--seed"]) == ["--args", "--token HIDDEN", "--seed"]
    assert redacted_command(["--args", "--x 1 --token=abc", "--seed"]) == ["--args", "--x 1 --token=HIDDEN", "--seed"]


def test_a_key_that_looks_like_an_option() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nabc=\n-----END PRIVATE KEY-----"
    assert "abc" not in "".join(redacted_command(["grpo.py", "--key_file", key]))


PIECES = [*SECRETS, *(text for text, _ in TEXTS), *ORDINARY, HIDDEN, " ", "=", ":", '"', "//", "@", "Bearer ", "--"]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=6).map("".join))
def test_hiding_twice_is_hiding_once(text: str) -> None:
    once = redacted_text(text)
    assert redacted_text(once) == once


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["a", *SECRETS])),
        lambda inner: st.one_of(
            st.lists(inner), st.dictionaries(st.sampled_from(["a", "seed", "api_key", "auth"]), inner)
        ),
        max_leaves=12,
    )
)
def test_at_any_depth(value: Any) -> None:
    text = json.dumps(redacted(value))
    assert not any(secret in text for secret in SECRETS)
