// SPDX-License-Identifier: MIT
/*
 * Sequences from and to saved prefixes (runtime/memory/prefix.h): who the model is, and
 * which pages of the KV cache are loaded and saved.
 */
#include "session.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define DEFAULT_BYTES (UINT64_C(4) << 30)

static void add_str(XXH3_state_t *h, struct linnet_str s)
{
	XXH3_128bits_update(h, &s.n, sizeof(s.n));
	XXH3_128bits_update(h, s.p, s.n);
}

static void add_u64(XXH3_state_t *h, uint64_t v)
{
	XXH3_128bits_update(h, &v, sizeof(v));
}

static size_t element_bytes(enum linnet_gguf_type type)
{
	switch (type) {
	case LINNET_GGUF_U8: case LINNET_GGUF_I8: case LINNET_GGUF_BOOL:
		return 1;
	case LINNET_GGUF_U16: case LINNET_GGUF_I16:
		return 2;
	case LINNET_GGUF_U32: case LINNET_GGUF_I32: case LINNET_GGUF_F32:
		return 4;
	default:
		return 8;
	}
}

static void add_metadata(XXH3_state_t *h, const struct linnet_gguf_kv *kv)
{
	const struct linnet_str *str = kv->arr.data;

	add_str(h, kv->key);
	add_u64(h, kv->type);
	if (kv->type == LINNET_GGUF_STRING) {
		add_str(h, kv->str);
	} else if (kv->type != LINNET_GGUF_ARRAY) {
		add_u64(h, kv->u);
	} else if (kv->arr.type == LINNET_GGUF_STRING) {
		for (size_t i = 0; i < kv->arr.n; i++)
			add_str(h, str[i]);
	} else {
		add_u64(h, kv->arr.type);
		XXH3_128bits_update(h, kv->arr.data, kv->arr.n * element_bytes(kv->arr.type));
	}
}

/*
 * Hashing the weights would take as long as reading them. A file that was changed in any
 * way has another time of its last change (ctime), which only the kernel sets; one that
 * was copied is another file. So at worst a model that is the same is not known again.
 */
static int add_files(XXH3_state_t *h, const struct linnet_model *m, struct linnet_error *err)
{
	for (size_t i = 0; i < linnet_gguf_file_count(m->gguf); i++) {
		struct stat st;
		size_t align;
		int fd;

		/* the descriptor that the weights are read from, whatever the path says now */
		linnet_weights_file(m->weights, (uint32_t)i, &fd, &align);
		if (fstat(fd, &st))
			return linnet_err(err, -errno, "%s: cannot tell who the model is: %s",
					  linnet_gguf_file_path(m->gguf, i), strerror(errno));
		add_u64(h, st.st_ino);
		add_u64(h, (uint64_t)st.st_size);
		add_u64(h, (uint64_t)st.st_mtim.tv_sec);
		add_u64(h, (uint64_t)st.st_mtim.tv_nsec);
		add_u64(h, (uint64_t)st.st_ctim.tv_sec);
		add_u64(h, (uint64_t)st.st_ctim.tv_nsec);
	}
	return 0;
}

/* Everything that the bytes of a page depend on but the tokens. */
static int identify(const struct linnet_session *s, struct linnet_hash128 *out,
		    struct linnet_error *err)
{
	const struct linnet_model *m = s->m;
	/* sines and cosines of the rotary angles are the C library's */
	const struct linnet_str libc = { gnu_get_libc_version(), strlen(gnu_get_libc_version()) };
	const struct linnet_str version = { linnet_version(), strlen(linnet_version()) };
	XXH3_state_t *h = XXH3_createState();
	XXH128_hash_t sum;
	int ret;

	if (!h)
		return linnet_err(err, -ENOMEM, "%s: out of memory", linnet_gguf_path(m->gguf));
	XXH3_128bits_reset(h);
	add_str(h, version);
	add_str(h, libc);
	ret = add_files(h, m, err);
	for (size_t i = 0; i < linnet_gguf_kv_count(m->gguf); i++)
		add_metadata(h, linnet_gguf_kv(m->gguf, i));
	for (size_t i = 0; i < linnet_gguf_tensor_count(m->gguf); i++) {
		const struct linnet_gguf_tensor *t = linnet_gguf_tensor(m->gguf, i);

		add_str(h, t->name);
		add_u64(h, t->type);
		add_u64(h, t->file);
		add_u64(h, t->offset);
		XXH3_128bits_update(h, t->ne, sizeof(t->ne));
	}
	add_u64(h, s->plan.kv_type);
	for (uint32_t i = 0; i < m->hp.n_layer; i++) {
		const struct linnet_kv_layer *l = &s->plan.kv[i];

		add_u64(h, l->n_heads);
		add_u64(h, l->dk);
		add_u64(h, l->dv);
		add_u64(h, l->offset);
	}
	/* longrope: a session for long texts turns all positions by other angles */
	add_u64(h, m->hp.longrope && s->plan.n_ctx > m->hp.rope_ctx_orig);
	sum = XXH3_128bits_digest(h);
	XXH3_freeState(h);
	*out = (struct linnet_hash128){ { sum.low64, sum.high64 } };
	return ret;
}

int linnet_session_open_prefix(struct linnet_session *s, const struct linnet_session_options *opts,
			       struct linnet_error *err)
{
	struct linnet_session_options o;
	struct linnet_hash128 model;
	int ret;

	ret = linnet_options_copy(&o, sizeof(o), opts);
	if (ret || !o.kv_cache)
		return ret;
	ret = identify(s, &model, err);
	if (ret)
		return ret;
	return linnet_prefix_open(&s->prefix, o.kv_cache,
				  o.kv_cache_bytes ? o.kv_cache_bytes : DEFAULT_BYTES, model,
				  s->plan.kv_page_bytes, err);
}

/* Load page number i of the text; false: it has to be computed. Called with the lock. */
static bool load(struct linnet_session *s, const int32_t *ids, uint32_t i)
{
	struct linnet_sequence *q = &s->seq[s->current];
	int ret;

	/* no room for it: the session is as it was */
	if (linnet_session_own_page(s, s->current, i, NULL)) {
		linnet_kv_release(s->kv);
		return false;
	}
	ret = linnet_prefix_load(s->prefix, s->m->queue, ids, i,
				 linnet_kv_page_memory(s->kv,
						       linnet_session_pages(s, s->current)[i]));
	linnet_kv_release(s->kv);
	if (ret != 1) {
		/* with the page goes what the session had of it */
		linnet_session_truncate(s, ret < 0 && q->n_past > i * LINNET_KV_PAGE ?
					i * LINNET_KV_PAGE : q->n_past);
		return false;
	}
	memcpy(q->ids + i * LINNET_KV_PAGE, ids + i * LINNET_KV_PAGE,
	       LINNET_KV_PAGE * sizeof(*ids));
	s->n_restored += (i + 1) * LINNET_KV_PAGE - q->n_past;
	q->n_past = (i + 1) * LINNET_KV_PAGE;
	q->n_saved = i + 1;
	return true;
}

int64_t linnet_session_restore(struct linnet_session *s, const int32_t *ids, size_t n,
			       struct linnet_error *err)
{
	struct linnet_sequence *q = &s->seq[s->current];
	uint32_t same = 0;

	for (size_t i = 0; i < n; i++)
		if (ids[i] < 0 || (uint32_t)ids[i] >= s->m->hp.n_vocab)
			return linnet_err(err, -ERANGE, "no such token (id, %d)", ids[i]);
	if (n > s->plan.n_ctx)
		n = s->plan.n_ctx;
	s->n_logits = 0;
	while (same < n && same < q->n_past && ids[same] == q->ids[same])
		same++;
	linnet_session_truncate(s, same);
	linnet_model_lock(s->m);
	for (uint32_t i = same / LINNET_KV_PAGE; s->prefix && (i + 1) * LINNET_KV_PAGE <= n; i++)
		if (!load(s, ids, i))
			break;
	linnet_model_unlock(s->m);
	return q->n_past;
}

int linnet_session_save(struct linnet_session *s, struct linnet_error *err)
{
	struct linnet_sequence *q = &s->seq[s->current];
	struct linnet_prefix_stats stats;
	bool some = false, held = true;
	int ret = 0;

	while (s->prefix && ret >= 0 && q->n_saved < q->n_past / LINNET_KV_PAGE) {
		const int32_t page = linnet_session_pages(s, s->current)[q->n_saved];

		linnet_model_lock(s->m);
		ret = linnet_kv_hold(s->kv, page, LINNET_KV_READ, err);
		if (!ret)
			ret = linnet_prefix_save(s->prefix, q->ids, q->n_saved,
						 linnet_kv_page_memory(s->kv, page));
		else
			held = false;
		linnet_kv_release(s->kv);
		linnet_model_unlock(s->m);
		if (ret >= 0)
			q->n_saved++;
		if (ret == 1) {
			s->n_saved += LINNET_KV_PAGE;
			some = true;
		}
	}
	if (some)
		linnet_prefix_sync(s->prefix);
	if (ret < 0 && held) {
		linnet_prefix_stats(s->prefix, &stats);
		return linnet_err(err, ret, "%s", stats.save_note);
	}
	return ret < 0 ? ret : 0;
}
