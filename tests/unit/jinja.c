// SPDX-License-Identifier: MIT
/*
 * Chat templates: the language (every expression below was also given to Jinja2
 * 3.1 with the settings of transformers, and printed the same), white space,
 * errors, bounds, and templates in the manner of the known model families.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/text/chat.h"
#include "runtime/text/jinja.h"
#include "tests/gguf_writer.h"
#include "tests/test.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

struct good {
	const char *tmpl, *text;
};

struct bad {
	const char *tmpl;
	int ret;
	const char *message;
};

static const struct good expressions[] = {
	{ "{{ 1 + 2 * 3 ** 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ "
	  "7 % -3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ -2 ** 2 }}",
	  "19 3 -4 2 -2 3.5 0.5 4" },
	{ "{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 1e-5 }} {{ 123456789.125 "
	  "}} {{ 1e15 }} {{ 1.5e300 }} {{ 100.0 / 3 }} {{ 0.0001 }}",
	  "1.0 0.30000000000000004 1e+16 1e-05 123456789.125 1000000000000000.0 "
	  "1.5e+300 33.333333333333336 0.0001" },
	{ "{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'x', none] ~ {'a': 1} }}",
	  "a1NoneTrue1.5[1, 'x', None]{'a': 1}" },
	{ "{{ 'a' 'b' \"c\" }} {{ \"it's\" }} {{ 'say \"hi\"' }} {{ '\\n\\t\\\\\\'' "
	  "| tojson }} {{ \"\\u00e9\\x41\" }}",
	  "abc it's say \"hi\" \"\\n\\t\\\\'\" éA" },
	{ "{{ [1, 2, 3][0] }} {{ [1, 2, 3][-1] }} {{ [1,2,3][5] is defined "
	  "}} {{ 'abc'[1] }} {{ 'äöü'[-1] }} {{ {'a': 1}['a'] }} {{ {'a': "
	  "{'b': 2}}.a.b }}",
	  "1 3 False b ü 1 2" },
	{ "{{ [1,2,3,4,5][1:3] }} {{ [1,2,3,4,5][::-1] }} {{ [1,2,3,4,5][::2] "
	  "}} {{ [1,2,3,4,5][-2:] }} {{ 'hello'[1:3] }} {{ 'hello'[::-1] "
	  "}} {{ 'hello'[:-1] }} {{ [1,2,3][10:] }} {{ [1,2,3][:-10] }} {{ "
	  "[1,2,3][5::-1] }}",
	  "[2, 3] [5, 4, 3, 2, 1] [1, 3, 5] [4, 5] el olleh hell [] [] [3, "
	  "2, 1]" },
	{ "{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 }} {{ true == 1 }} "
	  "{{ 'a' == \"a\" }} {{ 'a' < 'b' }} {{ [1,2] == [1,2] }} {{ {'a':1} "
	  "== {'a':1.0} }} {{ none == none }} {{ 1 != 2 }} {{ '1' == 1 }}",
	  "True False True True True True True True True True False" },
	{ "{{ 1 in [1,2] }} {{ 'b' in 'abc' }} {{ 'x' not in 'abc' }} {{ "
	  "'a' in {'a':1} }} {{ 'z' in undefinedvar }} {{ not 1 in [2] }}",
	  "True True True True False True" },
	{ "{{ true and false }} {{ 1 or 2 }} {{ 0 or 'x' }} {{ '' and 1 }} "
	  "{{ not '' }} {{ not none }} {{ true and 'y' or 'n' }} {{ not true "
	  "or true }}",
	  "False 1 x  True True y True" },
	{ "{{ 'y' if true else 'n' }} {{ 'y' if false }} {{ 'a' if 0 else "
	  "'b' if 1 else 'c' }} {{ (1 if false) is defined }}",
	  "y  b False" },
	{ "{{ x is defined }} {{ x is undefined }} {{ x is not defined }} "
	  "{{ none is none }} {{ 'a' is string }} {{ 1 is number }} {{ 1.5 "
	  "is float }} {{ 1 is integer }} {{ true is boolean }} {{ true is "
	  "true }} {{ false is false }} {{ 1 is true }} {{ true is integer "
	  "}} {{ true is number }}",
	  "False True True True True True True True True True True False "
	  "False True" },
	{ "{{ {} is mapping }} {{ [] is iterable }} {{ 'a' is iterable }} "
	  "{{ 1 is iterable }} {{ [] is sequence }} {{ {} is sequence }} "
	  "{{ 'a' is sequence }} {{ 1 is sequence }} {{ x is iterable }} "
	  "{{ none is iterable }}",
	  "True True True False True True True False True False" },
	{ "{{ 3 is odd }} {{ 3 is even }} {{ 9 is divisibleby 3 }} {{ 9 is "
	  "divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is equalto(2) }} {{ 1 is "
	  "ne 2 }} {{ 1 is lt 2 }} {{ 2 is ge 2 }} {{ 1 is in [1] }} {{ 'ABC' "
	  "is upper }} {{ 'abc' is lower }} {{ 'aB' is lower }} {{ range "
	  "is callable }} {{ 1 is not odd and true }}",
	  "True False True False True False True True True True True True "
	  "False True False" },
	{ "{{ '  x '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ ' a '.strip() }}|{{ "
	  "'xay'.lstrip('x') }}|{{ 'xay'.rstrip('xy') }}|{{ '\\u3000é\\u00a0'.strip() "
	  "}}|{{ ''.strip() }}",
	  "x|a|a|ay|xa|é|" },
	{ "{{ 'abc'|length }} {{ 'äö'|length }} {{ [1,2]|count }} {{ {'a':1}|length "
	  "}} {{ x|length }}",
	  "3 2 2 1 0" },
	{ "{{ [1,'a',none]|join(', ') }} {{ ['a','b']|join }} {{ 'abc'|join('-') "
	  "}} {{ [{'n':1},{'n':2}]|join('+', attribute='n') }} {{ ', '.join(['a','b']) "
	  "}}",
	  "1, a, None ab a-b-c 1+2 a, b" },
	{ "{{ 'Hello wORLD'|upper }} {{ 'Hello'|lower }} {{ 'hello wORLD'|capitalize "
	  "}} {{ 'hello wORLD-foo'|title }} {{ 'hello world'.title() }} {{ "
	  "'hELLO'.capitalize() }} {{ 'a'.upper() }} {{ 'B'.lower() }}",
	  "HELLO WORLD hello Hello world Hello World-Foo Hello World Hello "
	  "A b" },
	{ "{{ \"they're snake_case, a/b c.d (x)<y>[z]{w}\"|title }} {{ \"they're "
	  "a_b\".title() }} {{ 'naïve'|title }} {{ 'na\u00efve'.title() }}",
	  "They're Snake_case, A/b C.d (X)<Y>[Z]{W} They'Re A_B Naïve Naïve" },
	{ "{{ 'aXbXc'|replace('X','-') }} {{ 'aXbXc'.replace('X','') }} {{ "
	  "'aXbXc'.replace('X','-',1) }} {{ 'aaa'|replace('a','b',2) }} {{ "
	  "'abc'.replace('','-') }}",
	  "a-b-c abc a-bXc bba -a-b-c-" },
	{ "{{ [1,\"a\",none,true,1.5,{'k':[1,{}]},[]]|tojson }} {{ {'a':[1,2],'b':{}}|tojson(in"
	  "dent=2) }} {{ 'é\"\\u0001</x>'|tojson }} {{ 'é😀'|tojson(ensure_ascii=true) "
	  "}} {{ {1:2}|tojson }}",
	  "[1, \"a\", null, true, 1.5, {\"k\": [1, {}]}, []] {\n  \"a\": "
	  "[\n    1,\n    2\n  ],\n  \"b\": {}\n} \"é\\\"\\u0001</x>\" \"\\u00e9\\ud83d\\ude00\""
	  " {\"1\": 2}" },
	{ "{{ 1|string + 'a' }} {{ '12'|int + 1 }} {{ 'x'|int }} {{ 'x'|int(5) "
	  "}} {{ '1.9'|int }} {{ 1.9|int }} {{ '1.5'|float }} {{ 'x'|float "
	  "}} {{ 2|float }} {{ ' 7 '|int }}",
	  "1a 13 0 5 1 1 1.5 0.0 2.0 7" },
	{ "{{ x|default('d') }} {{ ''|default('d') }} {{ ''|default('d', "
	  "true) }} {{ none|default('d') }} {{ x|d(1) }} {{ x.y|default('n') "
	  "if x is defined else 'u' }} {{ false|default('d', boolean=true) "
	  "}}",
	  "d  d None 1 u d" },
	{ "{{ [3,1,2]|first }} {{ [3,1,2]|last }} {{ 'abc'|first }} {{ 'abc'|list "
	  "}} {{ {'a':1,'b':2}|list }} {{ {'a':1}|items|list }} {{ x|items|list "
	  "}} {{ [3,1,2]|sort }} {{ ['b','A','c']|sort }} {{ ['b','A']|sort(case_sensitive=true"
	  ") }} {{ [1,3,2]|sort(reverse=true) }} {{ [1,2,3]|reverse|list "
	  "}} {{ 'abc'|reverse }}",
	  "3 2 a ['a', 'b', 'c'] ['a', 'b'] [('a', 1)] [] [1, 2, 3] ['A', "
	  "'b', 'c'] ['A', 'b'] [3, 2, 1] [3, 2, 1] cba" },
	{ "{{ [{'r':'u','c':1},{'r':'a','c':2},{'r':'u','c':3}]|selectattr('r','equalto','u')|m"
	  "ap(attribute='c')|list }} {{ [{'a':1},{}]|selectattr('a','defined')|list|length "
	  "}} {{ [{'a':1},{'a':0}]|selectattr('a')|list }} {{ [{'a':1},{'a':0}]|rejectattr('a')"
	  "|list }} {{ [{'a':1},{'b':0}]|rejectattr('a','defined')|list }}",
	  "[1, 3] 1 [{'a': 1}] [{'a': 0}] [{'b': 0}]" },
	{ "{{ [1,2,3,4]|select('odd')|list }} {{ [1,2,3,4]|reject('odd')|list "
	  "}} {{ [0,1,'']|select|list }} {{ ['a','b']|map('upper')|list }} "
	  "{{ ['a','b']|map('replace','a','z')|join }} {{ [{'a':{'b':5}}]|map(attribute='a.b')|"
	  "list }} {{ [{}]|map(attribute='q', default='D')|list }} {{ [[1,2],[3,4]]|map('first'"
	  ")|list }} {{ [1,2]|map('string')|join('') }}",
	  "[1, 3] [2, 4] [1] ['A', 'B'] zb [5] ['D'] [1, 3] 12" },
	{ "{{ [1,1,2,'a','A']|unique|list }} {{ [1,2,3]|sum }} {{ [1.5,2]|sum "
	  "}} {{ [{'v':2},{'v':3}]|sum(attribute='v') }} {{ [3,1]|min }} "
	  "{{ [3,1]|max }} {{ []|max is defined }}",
	  "[1, 2, 'a'] 6 3.5 5 1 3 False" },
	{ "{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a\\nb'|indent(2, true) }}|{{ "
	  "'a\\nb'|indent('>>') }}|{{ 'a\\n\\nb'|indent(1, blank=true) }}",
	  "a\n  b\n\n  c|  a\n  b|a\n>>b|a\n \n b" },
	{ "{{ 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0,'ceil') }} "
	  "{{ 2.9|round(method='floor') }} {{ 3|round }} {{ -3|abs }} {{ "
	  "-1.5|abs }} {{ '<a href=\"x\">&\\''|e }}",
	  "2.0 2.57 3.0 2.0 3 3 1.5 &lt;a href=&#34;x&#34;&gt;&amp;&#39;" },
	{ "{{ {'b':1,'a':2}|dictsort }} {{ {'b':1,'a':2}|dictsort(by='value') "
	  "}} {{ {'b':1,'A':2}|dictsort(reverse=true) }} {% for k, v in {'b':1,'a':2}|dictsort "
	  "%}{{ k }}{{ v }}{% endfor %}",
	  "[('a', 2), ('b', 1)] [('b', 1), ('a', 2)] [('b', 1), ('A', 2)] "
	  "a2b1" },
	{ "{{ 'a,b,c'.split(',') }} {{ 'a b  c '.split() }} {{ 'a,b,c'.split(',', "
	  "1) }} {{ ' a b c '.split(none, 1) }} {{ 'a,b,c'.rsplit(',', 1) "
	  "}} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ ''.split(',') }} {{ ''.split() "
	  "}} {{ 'abc'.split('x')[-1] }}",
	  "['a', 'b', 'c'] ['a', 'b', 'c'] ['a', 'b,c'] ['a', 'b c '] ['a,b', "
	  "'c'] ['a', 'b', 'c'] [''] [] abc" },
	{ "{{ 'abc'.startswith('a') }} {{ 'abc'.endswith(('x','c')) }} {{ "
	  "'abc'.startswith('b') }} {{ 'abcabc'.find('c') }} {{ 'abc'.find('z') "
	  "}} {{ 'äbc'.find('c') }} {{ 'abab'.count('ab') }} {{ 'abc'.removeprefix('a') "
	  "}} {{ 'abc'.removesuffix('x') }} {{ '12'.isdigit() }} {{ ' '.isspace() "
	  "}}",
	  "True True False 2 -1 2 2 bc abc True True" },
	{ "{{ {'a':1}.items()|list }} {{ {'a':1}.keys()|list }} {{ {'a':1}.values()|list "
	  "}} {{ {'a':1}.get('a') }} {{ {'a':1}.get('b') }} {{ {'a':1}.get('b', "
	  "2) }}",
	  "[('a', 1)] ['a'] [1] 1 None 2" },
	{ "{{ '{}-{}'.format(1,'b') }} {{ '{1}{0}'.format('a','b') }} {{ "
	  "'{x}'.format(x=3) }} {{ '{{}}'.format() }}",
	  "1-b ba 3 {}" },
	{ "{{ range(3)|list }} {{ range(1,4)|list }} {{ range(5,0,-2)|list "
	  "}} {{ dict(a=1,b='x') }} {{ dict({'q':1}, z=2) }}",
	  "[0, 1, 2] [1, 2, 3] [5, 3, 1] {'a': 1, 'b': 'x'} {'q': 1, 'z': "
	  "2}" },
	{ "{% for i in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex "
	  "}}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length "
	  "}};{% endfor %}",
	  "1032TrueFalse3;2121FalseFalse3;3210FalseTrue3;" },
	{ "{% for i in [1,2,3] %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem "
	  "}} {% endfor %}",
	  "<1>2 1<2>3 2<3> " },
	{ "{% for i in [1,2,3,4] if i is even %}{{ i }}{{ loop.index }}{{ "
	  "loop.last }},{% else %}none{% endfor %}{% for i in [] %}x{% else "
	  "%}empty{% endfor %}{% for i in x %}y{% else %}undef{% endfor %}",
	  "21False,42True,emptyundef" },
	{ "{% for a, b in [(1,2),(3,4)] %}{{ a }}-{{ b }} {% endfor %}{% "
	  "for k, v in {'x':1}.items() %}{{ k }}={{ v }}{% endfor %}{% for "
	  "c in 'äb' %}[{{ c }}]{% endfor %}{% for k in {'q':1,'r':2} %}{{ "
	  "k }}{% endfor %}",
	  "1-2 3-4 x=1[ä][b]qr" },
	{ "{% set x = 1 %}{% for i in [1,2] %}{% set x = i + 10 %}{{ x }} "
	  "{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x "
	  "}}",
	  "11 12 15" },
	{ "{% set ns = namespace(n=0, s='') %}{% for i in range(4) %}{% set "
	  "ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n "
	  "}} {{ ns.s }}{{ ns.zz is defined }}",
	  "6 0123False" },
	{ "{% set a, b = 1, [2] %}{{ a }}{{ b }}{% set t = (1,) %}{{ t }}{% "
	  "set u = 1, 2 %}{{ u }}{{ () }}{{ (1) }}",
	  "1[2](1,)(1, 2)()1" },
	{ "{% set blk %}  hi {{ 1 }}{% endset %}[{{ blk }}]{% set up | upper "
	  "| trim %} abc {% endset %}[{{ up }}]",
	  "[  hi 1][ABC]" },
	{ "{% macro m(a, b=2, c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro "
	  "%}{{ m(1) }} {{ m(1, c=3) }} {{ m(b=5, a=4) }} {{ m() }} {{ m('x')|upper "
	  "}}",
	  "12None 123 45None 2None X2NONE" },
	{ "{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% "
	  "endmacro %}{{ f(5) }}",
	  "5,4,3,2,1,0" },
	{ "{% macro outer() %}{{ glob }}{% endmacro %}{% set glob = 'G' %}{{ "
	  "outer() }}",
	  "G" },
	{ "{% filter upper %}abc {{ 'd' }}{% endfilter %} {% with a=1, b=2 "
	  "%}{{ a + b }}{% endwith %}{{ a is defined }}",
	  "ABC D 3False" },
	{ "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif "
	  "%}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
	  "0134" },
	{ "{% raw %}{{ not }} {% this %}{# #}{% endraw %}|{%- raw -%}  x "
	  " {%- endraw -%}  |",
	  "{{ not }} {% this %}{# #}|x|" },
	{ "a {# comment #} b {#- c -#} d{# multi\nline #} e",
	  "a  bd e" },
	{ "{% generation %}gen{% endgeneration %}{{ '}}' }}{{ \"{%\" }}{{ "
	  "{'a': {'b': 1}}['a'] }}",
	  "gen}}{%{'b': 1}" },
	{ "{{ messages[0].content }}{{ messages[-1]['role'] }}{{ messages|length "
	  "}}{{ messages[0].nope is defined }}{{ messages[0].get('nope') "
	  "}}",
	  "Be nice. user4FalseNone" },
	{ "{{ x }}{{ x ~ 'a' }}[{{ none }}][{{ true }}][{{ [] }}][{{ {} }}][{{ "
	  "'' }}]",
	  "a[None][True][[]][{}][]" },
	{ "{{ 'a' * 3 }} {{ 2 * [1] }} {{ [1] + [2,3] }} {{ 'a' + 'b' }} "
	  "{{ (1,) + (2,) }} {{ +5 }} {{ - -5 }} {{ 1 - -1 }}",
	  "aaa [1, 1] [1, 2, 3] ab (1, 2) 5 5 2" },
	{ "{{ (1,2)[0] }} {{ [1,[2,3]][1][0] }} {{ 'x'.upper().lower() }} "
	  "{{ ('a' ~ 'b')|upper }} {{ 'a'|upper ~ 'b' }} {{ 1 + 2|string|length "
	  "}} {{ [1,2].0 }}",
	  "1 2 x AB Ab 2 1" },
	{ "{{ 1_000 }} {{ [1,2,] }} {{ {'a':1,} }} {{ \"a\" if 1 == 1 and "
	  "not 2 == 3 else \"b\" }} {{ not (1 == 2) }} {{ 'a' in ['a'] and "
	  "'b' not in ['a'] }}",
	  "1000 [1, 2] {'a': 1} a True True" },
	{ "{{ ['x','it\\'s','q\"d','b\\'o\"th', '\\n\\\\'] }} {{ [1.0, true, "
	  "none, (1,2), {'a':'b'}] }}",
	  "['x', \"it's\", 'q\"d', 'b\\'o\"th', '\\n\\\\'] [1.0, True, None, "
	  "(1, 2), {'a': 'b'}]" },
	{ "{% if messages[0]['role'] == 'user' %}U{% elif messages[0].role "
	  "== 'system' %}S{% else %}O{% endif %}{% if x %}1{% elif y %}2{% "
	  "elif true %}3{% endif %}",
	  "S3" },
	{ "{{ bos_token + 'x' + eos_token }}{{ add_generation_prompt }}{{ "
	  "tools is none }}{{ tools is defined }}{{ documents }}",
	  "<s>x</s>TrueTrueTrueNone" },
};

static const struct good white_space[] = {
	{ "{% if true %}\n  a\n{% endif %}\nb\n",
	  "  a\nb" },
	{ "  {% if true %}\n\tx {{ 1 }}\n  {% endif %}  \n y\n\n",
	  "\tx 1\n  \n y\n" },
	{ "a\n  {%- if true %}\n b\n  {% endif -%}\n\n c",
	  "a b\nc" },
	{ "  {{ 1 }}  \n  {{- 2 -}}  \n 3",
	  "  123" },
	{ "x{% if true +%}\n  y{% endif %}\nz",
	  "x\n  yz" },
	{ "  {%+ if true %}\n a{%+ endif %}",
	  "   a" },
	{ "{# c #}\n  {% if true %}q{% endif %}\n",
	  "q" },
	{ "{% set a = 1 %}  {% set b = 2 %}\n{{ a }}",
	  "  1" },
	{ "a\r\nb\r\n{% if true %}\r\nc\r{% endif %}\n",
	  "a\nb\nc\n" },
	{ "{% for i in [1,2] %}\n  - {{ i }}\n{% endfor %}\nend\n\n",
	  "  - 1\n  - 2\nend\n" },
	{ "\n\n{% if true %}a{% endif %}\n",
	  "\n\na" },
	{ "{{ 1 }}\n",
	  "1" },
	{ "{{ 1 }}\n\n",
	  "1\n" },
	{ "a {#- x #} b {# y -#} c",
	  "a b c" },
	{ "{#+ x +#}\n b",
	  "\n b" },
	{ "  {# x #}\n b",
	  " b" },
	{ "{% raw %}\n a {% endraw %}\nb",
	  "\n a b" },
	{ "  {% raw %}x{% endraw %}  ",
	  "x  " },
	{ "a\n   {% raw %}x\n   {% endraw %}\n b",
	  "a\nx\n b" },
	{ "{% if true -%}\n  a{% endif %}",
	  "a" },
	{ "{{ 'a' }}{% if true %}\n\n\n{% endif %}b",
	  "a\n\nb" },
	{ "t {%- set x = 1 -%} u",
	  "tu" },
	{ "{{ {'a':1}}}",
	  "{'a': 1}" },
	{ "{{- 1 -}}{%- if 1 -%}{%- endif -%}",
	  "1" },
};

static const struct bad errors[] = {
	{ "{{ x.y }}", -EINVAL,
	  "'x' is undefined" },
	{ "{{ x[0] }}", -EINVAL,
	  "'x' is undefined" },
	{ "{{ 1 + 'a' }}", -EINVAL,
	  "+ cannot take an integer and a string" },
	{ "{{ 'a' + 1 }}", -EINVAL,
	  "+ cannot take a string and an integer" },
	{ "{{ x + 1 }}", -EINVAL,
	  "'x' is undefined" },
	{ "{{ none + 'a' }}", -EINVAL,
	  "+ cannot take none and a string" },
	{ "{{ 1 // 0 }}", -EINVAL,
	  "division by zero" },
	{ "{{ 1 < 'a' }}", -EINVAL,
	  "an integer and a string have no order" },
	{ "{{ raise_exception('no!') }}", -EINVAL,
	  "no!" },
	{ "{% if %}", -EINVAL,
	  "an expression expected, not %}" },
	{ "{% endif %}", -EINVAL,
	  "a statement expected, not 'endif'" },
	{ "{% if 1 %}", -EINVAL,
	  "endif expected, not the template's end" },
	{ "{{ 1", -EINVAL,
	  "{{ has no }}" },
	{ "{{ }}", -EINVAL,
	  "an expression expected, not }}" },
	{ "{% for x %}{% endfor %}", -EINVAL,
	  "'in' expected, not %}" },
	{ "{{ 'abc }}", -EINVAL,
	  "a string has no end" },
	{ "{{ foo() }}", -ENOTSUP,
	  "'foo' is no function or method here" },
	{ "{{ 1() }}", -EINVAL,
	  "an integer cannot be called" },
	{ "{{ 'a'.nope() }}", -ENOTSUP,
	  "'nope' is no function or method here" },
	{ "{{ [1]|nofilter }}", -ENOTSUP,
	  "filter 'nofilter' is not supported" },
	{ "{{ 1 is notest }}", -ENOTSUP,
	  "test 'notest' is not supported" },
	{ "{{ (1 }}", -EINVAL,
	  "a bracket closes nothing" },
	{ "{{ 1) }}", -EINVAL,
	  "a bracket closes nothing" },
	{ "{% set 1 = 2 %}", -EINVAL,
	  "a name expected, not a number" },
	{ "{% set a.b = 2 %}", -EINVAL,
	  "only attributes of namespaces can be set" },
	{ "{% break %}", -EINVAL,
	  "break and continue belong in a loop" },
	{ "{% unknown %}", -EINVAL,
	  "a statement expected, not 'unknown'" },
	{ "{{ 1 if }}", -EINVAL,
	  "an expression expected, not }}" },
	{ "{{ range() }}", -EINVAL,
	  "range wants one to three integers" },
	{ "{{ 'a'|int|length }}", -EINVAL,
	  "an integer has no length" },
	{ "{{ for }}{% for i in 5 %}{% endfor %}", -EINVAL,
	  "an integer has no elements" },
	{ "{% macro m(a) %}{% endmacro %}{{ m(1,2) }}", -EINVAL,
	  "macro 'm' has too many arguments" },
	{ "{{ 'a' in 5 }}", -EINVAL,
	  "nothing is in an integer" },
	{ "{{ {[]:1} }}", -EINVAL,
	  "a list cannot be a key" },
	{ "{{ -'a' }}", -EINVAL,
	  "a string has no sign" },
	{ "{% for a, b in [1] %}{% endfor %}", -EINVAL,
	  "an integer has no elements" },
	{ "{{ ''.split('') }}", -EINVAL,
	  "split wants a separator that is not empty" },
	{ "{# x", -EINVAL,
	  "{# has no #}" },
	{ "{% raw %} x", -EINVAL,
	  "{% raw %} has no {% endraw %}" },
	{ "{{ 1 | }}", -EINVAL,
	  "a filter expected, not }}" },
	{ "{{ a..b }}", -EINVAL,
	  "a name expected, not '.'" },
	{ "{{ 'x' is string is string }}", -EINVAL,
	  "tests cannot be chained with is" },
	{ "{{ [1,2 }}", -EINVAL,
	  "a bracket closes nothing" },
	{ "{{ a b }}", -EINVAL,
	  "}} expected, not 'b'" },
	{ "{% else %}", -EINVAL,
	  "a statement expected, not 'else'" },
	{ "{% if 1 %}{% else %}{% else %}{% endif %}", -EINVAL,
	  "a statement expected, not 'else'" },
	{ "{{ dict(1) }}", -EINVAL,
	  "a dict is not made of an integer" },
	{ "{{ $ }}", -EINVAL,
	  "a character that means nothing in an expression" },
	{ "{{ ! }}", -EINVAL,
	  "a character that means nothing in an expression" },
	{ "{% for i in [1] recursive %}{% endfor %}", -ENOTSUP,
	  "recursive loops are not supported" },
	{ "{% call m() %}{% endcall %}", -ENOTSUP,
	  "{% call %} is not supported" },
	{ "{% include 'x' %}", -ENOTSUP,
	  "{% include %} is not supported" },
	{ "{{ '%s' % 1 }}", -ENOTSUP,
	  "formatting with % is not supported" },
	{ "{{ [].append(1) }}", -ENOTSUP,
	  "'append' is no function or method here" },
};

/* --------------------------------------------------------------- rendering */

static const struct linnet_chat_message talk[] = {
	{ "system", "Be nice. " },
	{ "user", " Hi there\n" },
	{ "assistant", "Hello!" },
	{ "user", "Bye é日" },
};

static int render(const char *tmpl, size_t n, char **text, struct linnet_error *err)
{
	struct jinja_value list, message;
	struct jinja *j;
	int ret;

	if (jinja_create(&j, "chat template", err))
		abort();
	if (jinja_new_list(j, &list))
		abort();
	for (size_t i = 0; i < N(talk); i++) {
		if (jinja_new_dict(j, &message) ||
		    jinja_insert(j, &message, jinja_string("role", 4),
				 jinja_string(talk[i].role, strlen(talk[i].role))) ||
		    jinja_insert(j, &message, jinja_string("content", 7),
				 jinja_string(talk[i].content, strlen(talk[i].content))) ||
		    jinja_append(j, &list, message))
			abort();
	}
	if (jinja_set(j, "messages", list) ||
	    jinja_set(j, "add_generation_prompt", jinja_bool(true)) ||
	    jinja_set(j, "bos_token", jinja_string("<s>", 3)) ||
	    jinja_set(j, "eos_token", jinja_string("</s>", 4)) ||
	    jinja_set(j, "tools", jinja_none()) || jinja_set(j, "documents", jinja_none()))
		abort();
	ret = jinja_render(j, tmpl, n, text, NULL);
	jinja_destroy(j);
	return ret;
}

static void test_good(const char *what, const struct good *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct linnet_error err = { 0 };
		char *text = NULL;
		int ret = render(cases[i].tmpl, strlen(cases[i].tmpl), &text, &err);

		if (!test_ok(!ret && !strcmp(text, cases[i].text), "%s %zu", what, i))
			printf("# %s\n# gives %s\n", cases[i].tmpl, ret ? err.message : text);
		free(text);
	}
}

static void test_bad(const char *what, const struct bad *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct linnet_error err = { 0 };
		char *text = NULL;
		int ret = render(cases[i].tmpl, strlen(cases[i].tmpl), &text, &err);

		if (!test_ok(ret == cases[i].ret && err.code == ret &&
			     strstr(err.message, "chat template: line ") &&
			     strstr(err.message, cases[i].message), "%s %zu: %s", what, i,
			     err.message))
			printf("# %s\n# gives %d %s\n", cases[i].tmpl, ret,
			       ret ? err.message : text);
		free(text);
	}
}

#define RENDER(s) render(s, sizeof(s) - 1, &text, &err)

static void test_lines(void)
{
	struct linnet_error err = { 0 };
	char *text;

	test_ok(RENDER("a\n\n{{ 'x\n' }}\n{% if 1 %}\n{{ y.z }}{% endif %}") == -EINVAL &&
		strstr(err.message, "line 6: 'y' is undefined"), "the line: %s", err.message);
	test_ok(RENDER("{# \n\n #}\n{{- 1\n + }}") == -EINVAL &&
		strstr(err.message, "line 5: "), "the line of a mistake: %s", err.message);
	test_ok(RENDER("{{ raise_exception('a\nb') }}") == -EINVAL &&
		strstr(err.message, "a b") && !strchr(err.message, '\n'), "an error is one line");
	test_ok(render("{{ x.y }}", 9, &text, NULL) == -EINVAL, "nobody wants the error");
}

/* ------------------------------------------------------------------ bounds */

static struct bytes repeated(const char *before, const char *unit, size_t n, const char *after)
{
	struct bytes b = { 0 };

	put(&b, before, strlen(before));
	while (n--)
		put(&b, unit, strlen(unit));
	put(&b, after, strlen(after));
	return b;
}

static void test_bounds(void)
{
	static const struct {
		const char *what, *before, *unit;
		size_t n;
		const char *after;
		int ret;
	} cases[] = {
		{ "deep brackets", "{{ ", "(", 100000, "", -EINVAL },
		{ "deep lists", "{{ ", "[", 300, "", -EINVAL },
		{ "deep not", "{{ ", "not ", 100000, "1 }}", -E2BIG },
		{ "deep signs", "{{ ", "- ", 100000, "1 }}", -E2BIG },
		{ "deep if", "", "{% if 1 %}", 20000, "", -E2BIG },
		{ "deep else", "{{ 1", " if 1 else 1", 20000, " }}", -E2BIG },
		{ "long sum", "{{ 1", " + 1", 20000, " }}", -E2BIG },
		{ "long chain", "{{ messages", ".a", 20000, " }}", -E2BIG },
		{ "many filters", "{{ 'a'", "|upper", 20000, " }}", -E2BIG },
		{ "many elif", "{% if 0 %}", "{% elif 0 %}", 20000, "{% endif %}", 0 },
		{ "many comparisons", "{{ 1", " == 1", 20000, " }}", 0 },
		{ "long list", "{{ [", "1,", 20000, "]|length }}", 0 },
		{ "many tags", "", "{{ 1 }}", 20000, "", 0 },
		{ "many braces", "", "{", 100000, "", -EINVAL },
		{ "long text", "", "{ { % # ", 100000, "", 0 },
		{ "too long", "", "abcdefgh", 200000, "", -E2BIG },
		{ "endless loop", "{% for a in range(99999) %}{% for b in range(99999) %}", "x", 1,
		  "{% endfor %}{% endfor %}", -E2BIG },
		{ "endless macro", "{% macro m() %}{{ m() }}{% endmacro %}", "", 0, "{{ m() }}",
		  -E2BIG },
		{ "text that doubles", "{% set n = namespace(s='aaaa') %}{% for i in range(99) %}",
		  "{% set n.s = n.s + n.s %}", 1, "{% endfor %}", -E2BIG },
		{ "list that doubles", "{% set n = namespace(s=[1]) %}{% for i in range(99) %}",
		  "{% set n.s = n.s + n.s %}", 1, "{% endfor %}", -E2BIG },
		{ "text times a billion", "{{ 'abcdefgh' * 1000000000 }}", "", 0, "", -E2BIG },
		{ "text times a million", "{{ 'abcdefghabcdefgh' * 9999999 }}", "", 0, "",
		  -E2BIG },
		{ "list times a million", "{{ [1] * 10000000 }}", "", 0, "", -E2BIG },
		{ "long range", "{{ range(1000000000) }}", "", 0, "", -E2BIG },
		{ "lists in lists", "{% set n = namespace(s=[]) %}{% for i in range(9999) %}",
		  "{% set n.s = [n.s, n.s] %}", 1, "{% endfor %}{{ n.s == [n.s] }}{{ n.s }}",
		  -E2BIG },
		{ "big integers", "{{ 9223372036854775807 + 1 }}", "", 0, "", -EINVAL },
		{ "bigger integers", "{{ 9223372036854775808 }}", "", 0, "", -EINVAL },
		{ "big product", "{{ 3037000500 * 3037000500 }}", "", 0, "", -EINVAL },
		{ "big power", "{{ 2 ** 63 }}", "", 0, "", -EINVAL },
		{ "least integer", "{{ (-9223372036854775807 - 1) // -1 }}", "", 0, "", -EINVAL },
		{ "its remainder", "{{ (-9223372036854775807 - 1) % -1 }}", "", 0, "", 0 },
		{ "replaced by more", "{% set a = 'x' * 99999 %}{{ a|replace('x', a) }}", "", 0, "",
		  -E2BIG },
		{ "wide JSON", "{{ range(1000)|list|tojson(indent=1000000) }}", "", 0, "", 0 },
		{ "sorted", "{{ (range(99999)|sort(reverse=true))[0] }}", "", 0, "", 0 },
		{ "unique", "{{ range(20000)|unique|list|length }}", "", 0, "", -E2BIG },
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct bytes b = repeated(cases[i].before, cases[i].unit, cases[i].n,
					  cases[i].after);
		struct linnet_error err = { 0 };
		clock_t start = clock();
		char *text = NULL;
		int ret = render((char *)b.p, b.n, &text, &err);
		double s = (double)(clock() - start) / CLOCKS_PER_SEC;

		/* Whichever comes first: too deep, or not closed. */
		test_ok((ret == cases[i].ret || (cases[i].ret == -EINVAL && ret == -E2BIG)) &&
			s < 10, "%s: %d in %.2f s %s", cases[i].what, ret, s, err.message);
		free(text);
		free(b.p);
	}
}

/* Whatever is done to a template, it renders or fails with a message. */
static void test_mutations(void)
{
	uint64_t state = 88172645463325252u;
	size_t rendered = 0, failed = 0;
	bool ok = true;

	for (int i = 0; i < 20000 && ok; i++) {
		const struct good *from = &expressions[i % N(expressions)];
		const struct good *other = &expressions[i / N(expressions) % N(expressions)];
		struct linnet_error err = { 0 };
		size_t n = strlen(from->tmpl), m = strlen(other->tmpl);
		char *t = malloc(n + m), *text = NULL;

		memcpy(t, from->tmpl, n);
		memcpy(t + n, other->tmpl, m);
		for (int k = 0; k < 4; k++) {
			size_t at, len;

			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			at = (state >> 8) % n;
			len = 1 + (state >> 32) % 8;
			switch (state & 3) {
			case 0:
				t[at] = (state >> 40) % 256;
				break;
			case 1:
				t[at] = "{}%#-|.'\"[]()~,:"[(state >> 40) % 16];
				break;
			case 2:
				/* Some of the other one. */
				if (at + len < n && len < m)
					memcpy(t + at, t + n + (state >> 40) % (m - len), len);
				break;
			case 3:
				if (at + len < n) {
					memmove(t + at, t + at + len, n - at - len);
					n -= len;
				}
				break;
			}
		}
		if (!render(t, n, &text, &err)) {
			rendered++;
		} else {
			failed++;
			ok = err.code && *err.message && !strchr(err.message, '\n');
		}
		free(text);
		free(t);
	}
	test_ok(ok && rendered && failed, "mutations: %zu rendered, %zu refused", rendered, failed);
}

/* ---------------------------------------------------------------- families */

/* Written for this test, in the manner of each family. */
static const struct {
	const char *name, *tmpl;
	size_t first;		/* of the conversation: 1 leaves the system's message out */
	const char *text;	/* NULL: refused, with `why` in the message */
	const char *why;
} families[] = {
	{ "ChatML",
	  "{% for m in messages %}\n"
	  "{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}"
	  "{% endfor %}\n"
	  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}", 0,
	  "<|im_start|>system\nBe nice. <|im_end|>\n<|im_start|>user\n Hi there\n<|im_end|>\n"
	  "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye é日<|im_end|>\n"
	  "<|im_start|>assistant\n" },
	{ "Llama 2",
	  "{%- set first = messages[0] -%}\n"
	  "{%- if first['role'] == 'system' -%}\n"
	  "  {%- set sys = '<<SYS>>\\n' + first['content'] | trim + '\\n<</SYS>>\\n\\n' -%}\n"
	  "  {%- set turns = messages[1:] -%}\n"
	  "{%- else -%}{%- set sys = '' -%}{%- set turns = messages -%}{%- endif -%}\n"
	  "{%- for t in turns -%}\n"
	  "  {%- if (t['role'] == 'user') != (loop.index0 % 2 == 0) -%}\n"
	  "    {{- raise_exception('roles must take turns') -}}\n"
	  "  {%- endif -%}\n"
	  "  {%- if t['role'] == 'user' -%}\n"
	  "    {{- bos_token + '[INST] ' + (sys if loop.first else '') + t['content'].strip()"
	  " + ' [/INST]' -}}\n"
	  "  {%- elif t['role'] == 'assistant' -%}\n"
	  "    {{- ' ' + t['content'] | trim + ' ' + eos_token -}}\n"
	  "  {%- endif -%}\n"
	  "{%- endfor -%}\n", 0,
	  "<s>[INST] <<SYS>>\nBe nice.\n<</SYS>>\n\nHi there [/INST] Hello! </s>"
	  "<s>[INST] Bye é日 [/INST]" },
	{ "Llama 3",
	  "{{- bos_token }}\n"
	  "{%- if custom_tools is defined %}\n    {%- set tools = custom_tools %}\n{%- endif %}\n"
	  "{%- if not date_string is defined %}\n    {%- set date_string = '1 Jan 2025' %}\n"
	  "{%- endif %}\n"
	  "{%- if messages[0].role == 'system' %}\n"
	  "    {%- set system_message = messages[0].content | trim %}\n"
	  "    {%- set messages = messages[1:] %}\n"
	  "{%- else %}\n    {%- set system_message = '' %}\n{%- endif %}\n"
	  "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n"
	  "{%- if tools is not none %}\n    {{- 'Environment: ipython\\n' }}\n{%- endif %}\n"
	  "{{- 'Today: ' ~ date_string ~ '\\n\\n' ~ system_message ~ '<|eot_id|>' }}\n"
	  "{%- for message in messages %}\n"
	  "    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}\n"
	  "        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' +"
	  " message['content'] | trim + '<|eot_id|>' }}\n"
	  "    {%- endif %}\n"
	  "{%- endfor %}\n"
	  "{%- if add_generation_prompt %}\n"
	  "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n"
	  "{%- endif %}\n", 0,
	  "<s><|start_header_id|>system<|end_header_id|>\n\nToday: 1 Jan 2025\n\nBe nice.<|eot_id|>"
	  "<|start_header_id|>user<|end_header_id|>\n\nHi there<|eot_id|>"
	  "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
	  "<|start_header_id|>user<|end_header_id|>\n\nBye é日<|eot_id|>"
	  "<|start_header_id|>assistant<|end_header_id|>\n\n" },
	{ "Mistral and Mixtral",
	  "{{ bos_token }}{% for m in messages %}"
	  "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
	  "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}"
	  "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
	  "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
	  "{% else %}{{ raise_exception('Only user and assistant roles') }}{% endif %}{% endfor %}",
	  1, "<s>[INST]  Hi there\n [/INST]Hello!</s>[INST] Bye é日 [/INST]" },
	{ "Mistral with a system message",
	  "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
	  "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}{% endfor %}",
	  0, NULL, "Roles must alternate user/assistant" },
	{ "Gemma",
	  "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
	  "{% set lead = messages[0]['content'] | trim ~ '\\n\\n' %}{% set rest = messages[1:] %}"
	  "{% else %}{% set lead = '' %}{% set rest = messages %}{% endif %}\n"
	  "{% for message in rest %}\n"
	  "    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}\n"
	  "    {{ '<start_of_turn>' + role + '\\n' + (lead if loop.first else '') }}\n"
	  "    {%- if message['content'] is string -%}\n"
	  "        {{ message['content'] | trim }}\n"
	  "    {%- elif message['content'] is iterable -%}\n"
	  "        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}\n"
	  "    {%- endif -%}\n"
	  "    {{ '<end_of_turn>\\n' }}\n"
	  "{%- endfor %}\n"
	  "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}\n", 0,
	  "<s><start_of_turn>user\nBe nice.\n\nHi there<end_of_turn>\n"
	  "<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye é日<end_of_turn>\n"
	  "<start_of_turn>model\n" },
	{ "Phi 3",
	  "{% for message in messages %}{% if message['role'] in ['system', 'user', 'assistant'] %}"
	  "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endif %}"
	  "{% endfor %}{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}", 0,
	  "<|system|>\nBe nice. <|end|>\n<|user|>\n Hi there\n<|end|>\n"
	  "<|assistant|>\nHello!<|end|>\n"
	  "<|user|>\nBye é日<|end|>\n<|assistant|>\n" },
	{ "Zephyr",
	  "{% for message in messages %}\n"
	  "{% if message['role'] == 'user' %}\n"
	  "{{ '<|user|>\\n' + message['content'] + eos_token }}\n"
	  "{% elif message['role'] == 'system' %}\n"
	  "{{ '<|system|>\\n' + message['content'] + eos_token }}\n"
	  "{% elif message['role'] == 'assistant' %}\n"
	  "{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n{% endif %}\n"
	  "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
	  "{% endfor %}", 0,
	  "<|system|>\nBe nice. </s>\n<|user|>\n Hi there\n</s>\n<|assistant|>\nHello!</s>\n"
	  "<|user|>\nBye é日</s>\n<|assistant|>\n" },
	{ "DeepSeek",
	  "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
	  "{% endif %}{% set ns = namespace(is_first=true, system='') %}"
	  "{%- for m in messages %}{%- if m['role'] == 'system' %}"
	  "{%- set ns.system = ns.system + ('' if ns.is_first else '\\n\\n') + m['content'] %}"
	  "{%- set ns.is_first = false %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}"
	  "{%- for m in messages %}{%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}"
	  "{%- elif m['role'] == 'assistant' %}"
	  "{{ '<｜Assistant｜>' + m['content'].split('</think>')[-1] + eos_token }}{%- endif %}"
	  "{%- endfor -%}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}",
	  0,
	  "<s>Be nice. <｜User｜> Hi there\n<｜Assistant｜>Hello!</s><｜User｜>Bye é日"
	  "<｜Assistant｜><think>\n" },
	{ "Qwen 3",
	  "{%- if tools %}\n    {{- tools | tojson }}\n{%- elif messages[0].role == 'system' %}\n"
	  "    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n"
	  "{%- endif %}\n"
	  "{%- set ns = namespace(searching=true, last=messages|length - 1) %}\n"
	  "{%- for message in messages[::-1] %}\n"
	  "    {%- set index = (messages|length - 1) - loop.index0 %}\n"
	  "    {%- if ns.searching and message.role == 'user' and"
	  " not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}\n"
	  "        {%- set ns.searching = false %}\n        {%- set ns.last = index %}\n"
	  "    {%- endif %}\n{%- endfor %}\n"
	  "{%- for message in messages %}\n"
	  "    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}\n"
	  "        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' +"
	  " '\\n' }}\n"
	  "    {%- elif message.role == 'assistant' %}\n"
	  "        {%- set thought = '' %}\n"
	  "        {%- if message.reasoning_content is defined and"
	  " message.reasoning_content is not none %}\n"
	  "            {%- set thought = message.reasoning_content %}\n        {%- endif %}\n"
	  "        {%- if loop.index0 > ns.last and thought %}\n"
	  "            {{- thought.strip('\\n') }}\n"
	  "        {%- endif %}\n"
	  "        {{- '<|im_start|>assistant\\n' + message.content.lstrip('\\n') +"
	  " '<|im_end|>\\n' }}\n"
	  "    {%- endif %}\n{%- endfor %}\n"
	  "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
	  "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
	  "        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}", 0,
	  "<|im_start|>system\nBe nice. <|im_end|>\n<|im_start|>user\n Hi there\n<|im_end|>\n"
	  "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye é日<|im_end|>\n"
	  "<|im_start|>assistant\n" },
};

static void test_families(void)
{
	static const char *const tokens[] = { "<unk>", "<s>", "</s>", "a" };
	char path[] = "/tmp/linnet-jinja-XXXXXX", *text;
	struct linnet_tokenizer *t = NULL;
	struct linnet_gguf *g = NULL;
	struct linnet_error err = { 0 };
	struct gguf_file f;
	struct bytes b;
	int fd = mkstemp(path);

	if (fd < 0) {
		test_ok(false, "no temporary file");
		return;
	}
	close(fd);
	gguf_init(&f);
	gguf_kv_str(&f, "general.architecture", "llama");
	gguf_kv_str(&f, "tokenizer.ggml.model", "llama");
	gguf_kv_array(&f, "tokenizer.ggml.tokens", 8, 4);
	for (int i = 0; i < 4; i++)
		put_str(&f.kv, tokens[i]);
	gguf_kv_array(&f, "tokenizer.ggml.scores", 6, 4);
	put_zero(&f.kv, 16);
	gguf_kv_array(&f, "tokenizer.ggml.token_type", 5, 4);
	for (int i = 0; i < 4; i++)
		put_u32(&f.kv, i == 0 ? 2 : i < 3 ? 3 : 1);
	gguf_kv_str(&f, "tokenizer.chat_template", families[0].tmpl);
	b = gguf_bytes(&f);
	if (write_file(path, b.p, b.n) || linnet_gguf_open(&g, path, &err) ||
	    linnet_tokenizer_create(&t, g, &err)) {
		test_ok(false, "vocabulary for templates: %s", err.message);
		goto out;
	}
	test_ok(!linnet_chat_render(g, t, NULL, talk, N(talk), true, &text, &err) &&
		!strcmp(text, families[0].text), "the model's template");
	free(text);
	for (size_t i = 0; i < N(families); i++) {
		size_t first = families[i].first;
		int ret;

		text = NULL;
		memset(&err, 0, sizeof(err));
		ret = linnet_chat_render(g, t, families[i].tmpl, talk + first, N(talk) - first,
					 true, &text, &err);
		if (!test_ok(families[i].text ? !ret && !strcmp(text, families[i].text) :
			     ret == -EINVAL && strstr(err.message, families[i].why), "%s",
			     families[i].name))
			printf("# %s\n", ret ? err.message : text);
		free(text);
	}
	text = NULL;
	test_ok(linnet_chat_render(g, t, "{{ 'a\\0b' }}", talk, 1, true, &text, &err) == -EINVAL &&
		!text && strstr(err.message, "zero byte"), "a zero byte in the text");
	test_ok(!linnet_chat_render(g, NULL, "{{ bos_token }}{{ messages }}", NULL, 0, true, &text,
				    &err) && !strcmp(text, "[]"), "no vocabulary, no messages");
	free(text);
	test_ok(linnet_chat_render(g, t, NULL, &(struct linnet_chat_message){ "user", NULL }, 1,
				   true, &text, &err) == -EINVAL &&
		strstr(err.message, "no content"), "a message without content");
	linnet_tokenizer_destroy(t);
	linnet_gguf_close(g);
	t = NULL;
	g = NULL;
	free(b.p);

	gguf_init(&f);
	gguf_kv_str(&f, "general.architecture", "llama");
	gguf_kv_str(&f, "tokenizer.chat_template", "\n{{ nobody.home }}");
	b = gguf_bytes(&f);
	if (write_file(path, b.p, b.n) || linnet_gguf_open(&g, path, &err)) {
		test_ok(false, "file with a bad template: %s", err.message);
		goto out;
	}
	test_ok(linnet_chat_render(g, NULL, NULL, talk, 1, true, &text, &err) == -EINVAL &&
		strstr(err.message, path) &&
		strstr(err.message, "tokenizer.chat_template: line 2: "),
		"the error names file and line: %s", err.message);
	linnet_gguf_close(g);
	g = NULL;
	free(b.p);

	gguf_init(&f);
	gguf_kv_str(&f, "general.architecture", "llama");
	b = gguf_bytes(&f);
	if (write_file(path, b.p, b.n) || linnet_gguf_open(&g, path, &err)) {
		test_ok(false, "file without a template: %s", err.message);
		goto out;
	}
	test_ok(linnet_chat_render(g, NULL, NULL, talk, 1, true, &text, &err) == -ENOENT,
		"no template: %s", err.message);
out:
	linnet_tokenizer_destroy(t);
	linnet_gguf_close(g);
	free(b.p);
	unlink(path);
}

int main(void)
{
	test_good("expression", expressions, N(expressions));
	test_good("white space", white_space, N(white_space));
	test_bad("error", errors, N(errors));
	test_lines();
	test_families();
	test_bounds();
	test_mutations();
	return test_end();
}
