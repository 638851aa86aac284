"""Which chat templates only copy contents, and that the proof never says so of one that looks at them."""

from __future__ import annotations

import pytest

from guard_reward.models.copying_template import copies_contents

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        "no messages at all",
        "{{ bos_token }}{% for m in messages %}{{ m.role ~ ': ' ~ m.content }}{% endfor %}",
        "{{ 'x' + messages[0].content + 'y' }}",
        "{{ messages[-1].content }}{% if messages|length > 1 %}{{ messages[0]['content'] }}{% endif %}",
        "{% for m in messages[1:] %}{{ m.content }}{% endfor %}",
        "{% set first = messages[0] %}{{ first.content }}",
        "{% set rest = messages[1:] %}{% for m in rest %}{% if loop.last %}{{ m.content }}{% endif %}{% endfor %}",
        "{% set ns = namespace(seen=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.seen = true %}"
        "{% endif %}{% endfor %}{{ ns.seen }}",
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no ' + m.role) }}{% endif %}{% endfor %}",
        "{{ messages[0].content if messages[0].role == 'system' else 'none' }}",
        "{% for m in messages %}{% if loop.index0 > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.role | upper }}{% endfor %}",
    ],
)
def test_templates_that_copy(template):
    assert copies_contents(template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content | trim }}",  # changes it
        "{{ messages[0].content[:5] }}",  # a part of it
        "{{ messages[0].content.strip() }}",
        "{{ messages[0].content * 2 }}",
        "{% if messages[0].content %}x{% endif %}",  # looks at it
        "{{ 'x' if 'bomb' in messages[0].content else 'y' }}",
        "{% if messages[0].content is string %}x{% endif %}",
        "{% if messages[0] == messages[1] %}x{% endif %}",
        "{{ messages }}",  # writes it in another form
        "{{ messages | tojson }}",
        "{{ messages[0] }}",
        "{{ messages[0].items() }}",
        "{{ messages[0]['con' + 'tent'] | length }}",
        "{% for m in messages %}{{ loop.previtem.content | length }}{{ loop.nextitem }}{% endfor %}",
        "{% set k = 'previtem' %}{% for m in messages %}{{ loop[k].content | upper }}{% endfor %}",
        "{% for m in messages %}{% set l = loop %}{{ l['next' ~ 'item'].content | upper }}{% endfor %}",
        "{% for m in messages %}{{ (loop | first)[0].content | upper }}{% endfor %}",
        "{% for m in messages %}{% if (loop | attr('previtem'))['content'] %}x{% endif %}{% endfor %}",
        "{% set loop = messages %}{{ loop.first.content }}",
        "{% for m in messages %}{% if loop.changed(m.content) %}x{% endif %}{% endfor %}",
        "{% for m in messages if m.content %}x{% endfor %}",
        "{% for c in messages[0].content %}{{ c }}{% endfor %}",
        "{% for m in messages recursive %}{{ m.content }}{% endfor %}",
        "{% set x = messages[0].content %}{% if x %}y{% endif %}",
        "{% set x %}{{ messages[0].content }}{% endset %}{{ x | length }}",
        "{% set ns = namespace(x=messages[0].content) %}{{ ns.x | length }}",
        "{% set ns = namespace() %}{% set ns.x = messages[0].content %}{{ ns.x | length }}",
        "{% for m in messages %}{% if x %}y{% endif %}{% set x = m.content %}{% endfor %}",
        "{% for m in messages %}{{ x.content | length }}{% set x = m %}{% endfor %}",
        "{% set x = [messages[0]] %}{{ x[0].content | length }}",
        "{% set x = {'a': messages} %}{{ x.a[0].content | length }}",
        "{% macro f(m) %}{{ m.content | length }}{% endmacro %}{{ f(messages[0]) }}",
        "{% filter upper %}{{ messages[0].content }}{% endfilter %}",
        "{% with x = messages[0].content %}{{ x | length }}{% endwith %}",
        "{{ strftime_now('%H:%M') }}{{ messages[0].content }}",  # differs from call to call
        "{{ [1, 2] | random }}",
        "{{ [[1, 2]] | map('random') | join }}",
        "{% for a, b in messages[0].items() %}{{ a }}{% endfor %}",
        "{% generation %}{{ messages[0].content }}{% endgeneration %}",  # not Jinja's own
        "{% if %}",  # no template
    ],
)
def test_templates_that_do_more(template):
    assert not copies_contents(template)


def test_qwen3guards_own_template_copies(qwen_tokenizer):
    assert copies_contents(qwen_tokenizer.chat_template)
