// SPDX-License-Identifier: MIT
/*
 * Keeps pretokenize.h: a pre-tokenizer is a short list of expressions. The first
 * cuts the text into its matches and what lies between them, the next cuts each
 * of those, and so on; no expression looks beyond the piece that it cuts.
 *
 * The expressions are facts about published tokenizers. They are written so that
 * every one runs in linear time: text is untrusted. \s is spelled out, because
 * the tokenizers mean Unicode's White_Space and PCRE2 adds U+180E to it.
 */
#include "pretokenize.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vocab.h"

#define MAX_STEPS 6

/* Inside a character class. */
#define WS "\\t-\\r \\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}" \
	"\\x{205F}\\x{3000}"
#define SPACE "[" WS "]"
#define NOT_BEFORE_TEXT "(?![^" WS "])"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define HAN "\\x{4E00}-\\x{9FA5}"
#define KANA "\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}"
#define ASCII_PUNCT "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"

/* Blank lines, then white space that leaves one space to the word after it. */
#define BLANK SPACE "*[\\r\\n]+|" SPACE "+" NOT_BEFORE_TEXT "|" SPACE "+"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+|" \
	SPACE "+" NOT_BEFORE_TEXT "|" SPACE "+"

/* GPT-4 and its many descendants differ in how they group digits. */
#define GPT4(digits, blank) CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits \
	"| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*|" blank

/* GPT-4o tells upper case from lower case: "someWords" are two. */
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define GPT4O(contraction, digits) \
	"[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" contraction "|" \
	"[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" contraction "|" digits \
	"| ?[^" WS "\\p{L}\\p{N}]+[\\r\\n/]*|" BLANK

/* ( | ) stand for themselves. */
#define BLOOM " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"

/* The letters with case that DeepSeek's tokenizer lists. */
#define CASED "A-Za-z" \
	"\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}" \
	"\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}" \
	"\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}" \
	"\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}" \
	"\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}" \
	"\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}" \
	"\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}" \
	"\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}" \
	"\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}" \
	"\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}" \
	"\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}" \
	"\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}" \
	"\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}" \
	"\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}" \
	"\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}" \
	"\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}" \
	"\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}" \
	"\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"

#define DEEPSEEK_CJK "[" HAN "\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"

typedef const char *const steps[MAX_STEPS + 1];

static steps step_default = {
	"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]",
};
static steps step_gpt2 = { GPT2 };
static steps step_digits_gpt2 = { "\\p{N}", GPT2 };
static steps step_falcon = { "[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]" };
static steps step_llama3 = { GPT4("\\p{N}{1,3}", BLANK) };
static steps step_qwen2 = { GPT4("\\p{N}", BLANK) };
static steps step_qwen35 = {
	CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^" WS
	"\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANK
};
static steps step_minicpm5 = { "\\p{N}{1,3}", GPT4("\\p{N}+", BLANK) };
static steps step_laguna = { "[^\\n]+|\\n+", GPT4("\\p{N}", BLANK) };
static steps step_bailing = {
	GPT4("\\p{N}", SPACE "*[\\r\\n]|" SPACE "+" NOT_BEFORE_TEXT "|" SPACE "+")
};
static steps step_seed_coder = {
	CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" WS "\\p{L}\\p{N}]+|" BLANK
};
/* Possessive: a word of words never gives back, and a long one needs no stack. */
static steps step_exaone_moe = {
	CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*+(?: \\p{L}\\p{M}*+)*+)++|\\p{N}| ?[^"
	WS "\\p{L}\\p{N}]+[\\r\\n/]?|" SPACE "*[\\r\\n]|" SPACE "+" NOT_BEFORE_TEXT "|" SPACE "+"
};
static steps step_tekken = { GPT4O("", "\\p{N}") };
static steps step_gpt4o = { GPT4O(CONTRACTION "?", "\\p{N}{1,3}") };
static steps step_youtu = {
	"[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|"
	"[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}"
	"\\x{FF0C}\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|[" HAN KANA "]+",
	GPT4O(CONTRACTION "?", "\\p{N}"),
};
static steps step_bloom = { BLOOM };
static steps step_viking = { BLOOM, "\\p{N}" };
static steps step_deepseek_llm = {
	"[\\r\\n]",
	SPACE "?[" CASED "]+",
	SPACE "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}"
	"\\x{3000}-\\x{3002}]+",
	/* White space at the end; without the look-behind every space of a run is tried. */
	"(?<!" SPACE ")" SPACE "+\\z",
	DEEPSEEK_CJK,
	"\\p{N}+",
};
static steps step_deepseek_coder = {
	"[\\r\\n]", SPACE "?\\p{L}+", SPACE "?\\p{P}+", DEEPSEEK_CJK, "\\p{N}",
};
static steps step_deepseek_v3 = {
	"\\p{N}{1,3}",
	"[" HAN KANA "]+",
	ASCII_PUNCT "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+"
	"[\\r\\n]*|" BLANK,
};

static const struct {
	const char *name;
	steps *steps;
	struct pretokenizer_traits traits;
} known[] = {
	{ "default", &step_default },
	{ "llama-bpe", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "llama3", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "llama-v3", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "falcon3", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "falcon-h1", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "pixtral", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "midm-2.0", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "lfm2", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "jina-v5-nano", &step_llama3, { .ignore_merges = true, .add_bos = true } },
	{ "dbrx", &step_llama3 },
	{ "smaug-bpe", &step_llama3 },
	{ "glm4", &step_llama3 },
	{ "chatglm-bpe", &step_llama3 },
	{ "minicpm5", &step_minicpm5, { .ignore_merges = true } },
	{ "gpt-2", &step_gpt2 },
	{ "phi-2", &step_gpt2 },
	{ "jina-es", &step_gpt2 },
	{ "jina-de", &step_gpt2 },
	{ "jina-v2-es", &step_gpt2 },
	{ "jina-v2-de", &step_gpt2 },
	{ "gigachat", &step_gpt2 },
	{ "a.x-4.0", &step_gpt2 },
	{ "mellum", &step_gpt2 },
	{ "modern-bert", &step_gpt2 },
	{ "mpt", &step_gpt2 },
	{ "olmo", &step_gpt2 },
	{ "jais", &step_gpt2 },
	{ "trillion", &step_gpt2 },
	{ "granite-docling", &step_gpt2 },
	{ "exaone4", &step_gpt2 },
	{ "starcoder", &step_digits_gpt2 },
	{ "refact", &step_digits_gpt2 },
	{ "command-r", &step_digits_gpt2 },
	{ "smollm", &step_digits_gpt2 },
	{ "codeshell", &step_digits_gpt2 },
	{ "exaone", &step_digits_gpt2 },
	{ "minerva-7b", &step_digits_gpt2 },
	{ "mellum2", &step_digits_gpt2 },
	{ "qwen2", &step_qwen2 },
	{ "qwen2.5", &step_qwen2 },
	{ "deepseek-r1-qwen", &step_qwen2 },
	{ "kormo", &step_qwen2 },
	{ "f2llmv2", &step_qwen2 },
	{ "megrez", &step_qwen2 },
	{ "stablelm2", &step_qwen2 },
	{ "hunyuan", &step_qwen2 },
	{ "solar-open", &step_qwen2 },
	{ "grok-2", &step_qwen2 },
	{ "qwen35", &step_qwen35 },
	{ "laguna", &step_laguna },
	{ "bailingmoe", &step_bailing },
	{ "bailingmoe2", &step_bailing },
	{ "llada-moe", &step_bailing },
	{ "seed-coder", &step_seed_coder },
	{ "exaone-moe", &step_exaone_moe },
	{ "tekken", &step_tekken, { .ignore_merges = true, .add_bos = true } },
	{ "gpt-4o", &step_gpt4o },
	{ "llama4", &step_gpt4o },
	{ "kanana2", &step_gpt4o },
	{ "talkie", &step_gpt4o },
	{ "minimax-m2", &step_gpt4o },
	{ "youtu", &step_youtu, { .ignore_merges = true } },
	{ "falcon", &step_falcon },
	{ "bloom", &step_bloom },
	{ "poro-chat", &step_bloom },
	{ "gpt3-finnish", &step_bloom },
	{ "viking", &step_viking },
	{ "deepseek-llm", &step_deepseek_llm },
	{ "deepseek-coder", &step_deepseek_coder },
	{ "deepseek-v3", &step_deepseek_v3 },
	{ "hunyuan-dense", &step_deepseek_v3 },
	{ "joyai-llm", &step_deepseek_v3 },
};

struct pretokenizer {
	unsigned n_steps;
	pcre2_code *code[MAX_STEPS];
	bool jit[MAX_STEPS];
};

const char *pretokenizer_name(size_t i)
{
	return i < sizeof(known) / sizeof(known[0]) ? known[i].name : NULL;
}

void pretokenizer_destroy(struct pretokenizer *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->n_steps; i++)
		pcre2_code_free(p->code[i]);
	free(p);
}

int pretokenizer_create(struct pretokenizer **out, const char *name,
			struct pretokenizer_traits *traits)
{
	struct pretokenizer *p;
	size_t i;

	for (i = 0; pretokenizer_name(i); i++) {
		if (!strcmp(known[i].name, name))
			break;
	}
	if (!pretokenizer_name(i))
		return -ENOTSUP;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (unsigned k = 0; (*known[i].steps)[k]; k++) {
		PCRE2_SIZE at;
		int code;

		p->code[k] = pcre2_compile((PCRE2_SPTR)(*known[i].steps)[k],
					   PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
					   &at, NULL);
		/* The expressions are constants: only memory can be missing. */
		if (!p->code[k]) {
			pretokenizer_destroy(p);
			return -ENOMEM;
		}
		p->n_steps = k + 1;
		/* Where code may not be generated the interpreter finds the same. */
		p->jit[k] = !pcre2_jit_compile(p->code[k], PCRE2_JIT_COMPLETE);
	}
	if (traits)
		*traits = known[i].traits;
	*out = p;
	return 0;
}

struct split {
	const struct pretokenizer *p;
	pcre2_match_data *md;
	pcre2_match_context *mctx;
	int (*word)(void *ctx, const char *text, size_t n);
	void *ctx;
};

/* The next match at or after `at`; the text is known to be UTF-8. */
static int match_next(const struct split *s, unsigned step, const char *text, size_t n, size_t at)
{
	int rc = PCRE2_ERROR_JIT_STACKLIMIT;

	if (s->p->jit[step])
		rc = pcre2_jit_match(s->p->code[step], (PCRE2_SPTR)text, n, at, 0, s->md, s->mctx);
	if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
		rc = pcre2_match(s->p->code[step], (PCRE2_SPTR)text, n, at,
				 PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->md, s->mctx);
	return rc;
}

/* Recursion is as deep as there are steps. */
static int split_step(const struct split *s, unsigned step, const char *text, size_t n)
{
	size_t done = 0;
	int ret;

	if (step == s->p->n_steps)
		return s->word(s->ctx, text, n);

	while (done < n) {
		int rc = match_next(s, step, text, n, done);
		size_t from, to;

		if (rc == PCRE2_ERROR_NOMATCH)
			break;
		if (rc == PCRE2_ERROR_NOMEMORY)
			return -ENOMEM;
		if (rc < 0)
			return -E2BIG;
		from = pcre2_get_ovector_pointer(s->md)[0];
		to = pcre2_get_ovector_pointer(s->md)[1];
		if (from > done) {
			ret = split_step(s, step + 1, text + done, from - done);
			if (ret)
				return ret;
		}
		ret = split_step(s, step + 1, text + from, to - from);
		if (ret)
			return ret;
		done = to;
	}
	return done < n ? split_step(s, step + 1, text + done, n - done) : 0;
}

int pretokenizer_split(const struct pretokenizer *p, const char *text, size_t n,
		       int (*word)(void *ctx, const char *text, size_t n), void *ctx)
{
	struct split s = { .p = p, .word = word, .ctx = ctx };
	size_t at = 0;
	int ret = -ENOMEM;

	s.md = pcre2_match_data_create(1, NULL);
	s.mctx = pcre2_match_context_create(NULL);
	if (!s.md || !s.mctx)
		goto out;
	/* Steps are linear in the text, so this only stops what should not be. */
	pcre2_set_match_limit(s.mctx, n < UINT32_MAX / 64 - 1000000 ? 1000000 + 64 * n :
			      UINT32_MAX);

	ret = 0;
	while (at < n && !ret) {
		size_t end = at, len;
		uint32_t ch;

		while ((len = utf8_char(text + end, n - end, &ch)))
			end += len;
		if (end > at) {
			ret = split_step(&s, 0, text + at, end - at);
			at = end;
			continue;
		}
		/* Bytes that are not UTF-8 are a word, and the text's end for the rest. */
		while (end < n && !utf8_char(text + end, n - end, &ch))
			end++;
		ret = word(ctx, text + at, end - at);
		at = end;
	}
out:
	pcre2_match_context_free(s.mctx);
	pcre2_match_data_free(s.md);
	return ret;
}
