// SPDX-License-Identifier: MIT
/*
 * Drafts by a second, small model of the same vocabulary (Leviathan, Kalman, Matias 2023,
 * "Fast Inference from Transformers via Speculative Decoding"). It proposes its likeliest
 * tokens; what becomes of them is decided as for any other draft, see linnet.h.
 */
#include "runtime/model/model.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

struct linnet_draft {
	struct linnet_session *s;	/* of the small model, the caller's */
	uint32_t n_vocab;		/* of the large one */
	uint32_t n_draft_vocab;
	int32_t *id;			/* the text */
	uint32_t n, cap;
};

/*
 * The same tokens by the same numbers. Matrices may have more rows than there are tokens:
 * those are never drafted.
 */
static int compare_vocabularies(const struct linnet_model *m, const struct linnet_model *small,
				struct linnet_error *err)
{
	const char *path = linnet_gguf_path(small->gguf);
	char a[512], b[512];
	uint32_t n;

	if (!m->tokenizer || !small->tokenizer)
		return linnet_err(err, -EINVAL,
				  "%s: a draft model needs the tokenizer of %s, and one "
				  "of them has none (tokenizer.ggml.tokens)",
				  path, linnet_gguf_path(m->gguf));
	n = linnet_tokenizer_n_vocab(small->tokenizer);
	if (n != linnet_tokenizer_n_vocab(m->tokenizer))
		return linnet_err(err, -EINVAL, "%s: the vocabulary is not that of %s "
				  "(tokenizer.ggml.tokens, %u and %u)", path,
				  linnet_gguf_path(m->gguf), n,
				  linnet_tokenizer_n_vocab(m->tokenizer));
	for (uint32_t i = 0; i < n; i++) {
		int len = linnet_token_text(small, (int32_t)i, true, a, sizeof(a));

		if (len != linnet_token_text(m, (int32_t)i, true, b, sizeof(b)) ||
		    (len > 0 && memcmp(a, b, (size_t)len < sizeof(a) ? (size_t)len : sizeof(a))))
			return linnet_err(err, -EINVAL, "%s: the vocabulary is not that of %s "
					  "(tokenizer.ggml.tokens, token %u)", path,
					  linnet_gguf_path(m->gguf), i);
	}
	return 0;
}

int linnet_draft_create(struct linnet_draft **out, const struct linnet_model *m,
			struct linnet_session *s, struct linnet_error *err)
{
	struct linnet_draft *d;
	int ret = compare_vocabularies(m, s->m, err);

	if (ret)
		return ret;
	d = calloc(1, sizeof(*d));
	if (!d)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(s->m->gguf));
	d->s = s;
	d->n_vocab = linnet_tokenizer_n_vocab(m->tokenizer);
	d->n_draft_vocab = s->m->hp.n_vocab;
	*out = d;
	return 0;
}

void linnet_draft_destroy(struct linnet_draft *d)
{
	if (!d)
		return;
	free(d->id);
	free(d);
}

int linnet_draft_push(struct linnet_draft *d, int32_t id)
{
	if (d->n == d->cap) {
		uint32_t cap = d->cap ? 2 * d->cap : 1024;
		int32_t *ids;

		if (cap > INT32_MAX / 2)
			return -ENOSPC;
		ids = realloc(d->id, cap * sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		d->id = ids;
		d->cap = cap;
	}
	d->id[d->n++] = id;
	return 0;
}

int linnet_draft_truncate(struct linnet_draft *d, uint32_t n)
{
	if (n > d->n)
		return -EINVAL;
	d->n = n;
	return 0;
}

/* The likeliest token, the lowest number among equals; -1: none that can be drafted. */
static int32_t likeliest(const struct linnet_draft *d, const float *logits)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < d->n_draft_vocab; i++)
		if (logits[i] > logits[best])
			best = i;
	return best < d->n_vocab ? (int32_t)best : -1;
}

int64_t linnet_draft_next(struct linnet_draft *d, int32_t *ids, size_t cap,
			  struct linnet_error *err)
{
	const uint32_t room = linnet_session_capacity(d->s);
	int64_t have;
	size_t n = 0;
	int ret;

	if (!d->n || d->n >= room || !cap)
		return 0;
	/* the last draft token would not be decoded */
	if (cap > room - d->n + 1)
		cap = room - d->n + 1;
	/* what was drafted last and is not the text is forgotten here */
	have = linnet_session_restore(d->s, d->id, d->n, err);
	if (have < 0)
		return have;
	/* the last token is computed once more: it gives the logits */
	if (have == d->n)
		linnet_session_truncate(d->s, (uint32_t)--have);
	ret = linnet_session_decode(d->s, d->id + have, d->n - (size_t)have, LINNET_LOGITS_LAST,
				    err);
	while (!ret) {
		ids[n] = likeliest(d, linnet_session_logits(d->s, 0));
		if (ids[n] < 0 || ++n == cap)
			break;
		ret = linnet_session_decode(d->s, &ids[n - 1], 1, LINNET_LOGITS_LAST, err);
	}
	return ret ? ret : (int64_t)n;
}
