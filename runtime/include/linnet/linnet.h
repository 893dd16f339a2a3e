/* SPDX-License-Identifier: MIT */
/*
 * liblinnet: run language models where memory is short.
 *
 *	struct linnet_error err;
 *	struct linnet_model *m;
 *	struct linnet_session *s;
 *
 *	linnet_model_open(&m, "model.gguf", NULL, &err);
 *	linnet_session_create(&s, m, NULL, &err);
 *	n = linnet_tokenize(m, text, len, LINNET_TOKENIZE_SPECIAL, ids, cap);
 *	linnet_session_decode(s, ids, n, LINNET_LOGITS_LAST, &err);
 *	id = linnet_sampler_sample(sampler, linnet_session_logits(s, 0));
 *
 * Conventions. Functions that can fail return 0 (or a count) or -errno and, where
 * they take a struct linnet_error, leave a one-line message in it (it may be
 * NULL). Handles are opaque. The library never prints, never exits and keeps no
 * global state. A handle is used by one thread at a time; different sessions of
 * one model may not run at the same time. Option structs start with their size
 * (use LINNET_INIT), so that they can grow; zero means the default.
 */
#ifndef LINNET_LINNET_H
#define LINNET_LINNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LINNET_VERSION_MAJOR 0
#define LINNET_VERSION_MINOR 1
#define LINNET_VERSION_PATCH 0

/* "0.1.0" */
const char *linnet_version(void);

/* What went wrong. code is a negative errno, message one line without newline. */
struct linnet_error {
	int code;
	char message[512];
};

/* struct linnet_model_options opts = LINNET_INIT(opts); */
#define LINNET_INIT(var) { .size = sizeof(var) }

/* ------------------------------------------------------------------ models */

struct linnet_model;

#define LINNET_MEMORY_UNLIMITED UINT64_MAX
#define LINNET_READ_DEPTH_MOST 32

struct linnet_model_options {
	size_t size;
	const char *engine;	/* "host", "accel", "auto" (default): a device if there is one */
	unsigned n_threads;	/* 0: one for each CPU the process may use */
	bool vocab_only;	/* tokenizer and metadata only: sessions are refused */
	bool no_direct_io;	/* read through the page cache */
	bool no_io_uring;	/* read with threads and preadv2 */
	bool no_huge_pages;
	/*
	 * What the process may use, in bytes; 0: nine tenths of the machine's free memory,
	 * or nearly all that its control groups and limits leave, whichever is less, followed
	 * while the model runs; LINNET_MEMORY_UNLIMITED: no bound. Weights that do not
	 * fit are read again in every pass. What cannot work is refused when a session is
	 * created.
	 */
	uint64_t memory_bytes;
	/* Read no more bytes per second, evenly paced; 0: no bound. */
	uint64_t read_bandwidth;
	/* Keep a checksum of each tensor from the first time it is read, and compare it
	 * whenever the tensor is read again. Rows of embeddings that are read one by one
	 * are not compared. */
	bool verify;
	/*
	 * Hold the weights that stay in memory once, together with other processes that name
	 * this folder and open the same file with the same engine. It is the user's own, for
	 * sockets; NULL: share with nobody. On a device the user's other processes are trusted
	 * not to write to what they share.
	 */
	const char *share_dir;
	bool no_numa;		/* on machines of several memory nodes, place nothing */
	/* Requests of 2 MiB in flight at once, at most LINNET_READ_DEPTH_MOST; 0: 12, which keeps
	 * every disk busy that answers within 24 MiB of its rate. Through the page cache with a
	 * bound on memory they are 2. */
	unsigned read_depth;
};

/*
 * Open a GGUF file (any part of a split one): reads and checks metadata, the
 * tokenizer and the table of tensors, and builds the command streams. Weights
 * are not read yet. -ENOTSUP: an architecture, tensor type or tokenizer that
 * is not supported, named in the message. -EINVAL: the file is damaged.
 */
int linnet_model_open(struct linnet_model **out, const char *path,
		      const struct linnet_model_options *opts, struct linnet_error *err);
/* Sessions of the model must be gone. NULL is ignored. */
void linnet_model_close(struct linnet_model *m);

/*
 * Wait until all weights are in memory. Not needed: the first decode reads them
 * layer by layer while it computes. progress (may be NULL) is called with the
 * bytes read so far and in all; when it returns false the call ends with -EINTR.
 */
int linnet_model_load(struct linnet_model *m,
		      bool (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
		      struct linnet_error *err);

struct linnet_model_info {
	size_t size;
	const char *architecture;	/* "llama", "qwen2", ... */
	const char *name;		/* general.name, or "" */
	const char *type_name;		/* prevailing weight type, "Q4_0" */
	const char *engine;		/* "host" or "accel" */
	const char *isa;		/* instruction set of the kernels, "avx512" */
	uint64_t n_params;
	uint64_t weight_bytes;		/* tensor data in the file */
	uint64_t file_bytes;		/* all parts */
	uint32_t n_files;
	uint32_t n_vocab, n_ctx_train, n_embd, n_layer, n_head, n_head_kv;
	uint32_t n_expert, n_expert_used;
	unsigned n_threads;
	/* Memory nodes that weights are spread over and threads are kept on; 1: there is one, or
	 * nothing is placed (no_numa, a policy of the caller's own, a library without libnuma). */
	unsigned n_nodes;
	/* Of a token that is written: bytes of weights that are read, of experts those used. */
	uint64_t token_bytes;
	/* Multiplications with weights, without attention: of each token, and of those alone
	 * whose logits are wanted. */
	uint64_t token_products, output_products;
};

/* Set info->size before. Strings live as long as the model. */
int linnet_model_info(const struct linnet_model *m, struct linnet_model_info *info);

/*
 * Memory that a session would take, in bytes, before anything is allocated.
 * -ENOMEM: the model's memory_bytes do not suffice; the message says what would.
 */
struct linnet_memory_info {
	size_t size;
	uint64_t weights;	/* resident + ring + experts */
	uint64_t kv, scratch;
	uint64_t other;		/* tokenizer, metadata, code */
	uint64_t total;
	uint64_t resident;	/* weights that stay in memory */
	uint64_t ring;		/* memory that the others are read into */
	uint64_t streamed;	/* bytes that every pass reads again */
	uint64_t budget;	/* what the process may use, or LINNET_MEMORY_UNLIMITED */
	uint64_t kv_disk;	/* that the KV cache may take on disk */
	/* Where not all experts of a mixture stay in memory: memory that those used most are
	 * cached in, their bytes in all, and what a token would read of them if all were used
	 * equally. They are not, so it reads less. */
	uint64_t experts, experts_bytes, experts_read;
};

struct linnet_session_options;
int linnet_model_memory(const struct linnet_model *m, const struct linnet_session_options *opts,
			struct linnet_memory_info *info, struct linnet_error *err);

/*
 * Give the model another budget, at any time and from any thread, also while a decode of
 * it runs in another one. With less, weights leave memory: what is not in use by the job
 * that runs now is given back within 100 ms, usually within a few. With more, the passes
 * that follow keep what they read. Results do not change. 0 is an automatic budget, as of
 * linnet_model_options.memory_bytes: while a decode runs it follows what the machine and
 * the control groups leave, and gives way when the kernel tells of pressure. -ENOMEM: less
 * than the sessions there are need, named in the message; nothing is changed then. What there
 * is no memory for when it is to grow goes on as before.
 */
int linnet_model_set_memory(struct linnet_model *m, uint64_t bytes, struct linnet_error *err);
/*
 * For programs that wait for something else between decodes: a descriptor to poll for
 * POLLIN along with that; when it is readable, memory is short, and
 * linnet_model_set_memory(m, 0, NULL) gives way. -ENOENT: the model was opened with a
 * budget of its own, or the kernel does not tell.
 */
int linnet_model_pressure_fd(const struct linnet_model *m);
/*
 * No decode comes for a while: until the next one, of any session of the model, the kernel may
 * take the memory of weights when it is short, without asking. That decode has what is left
 * again, and reads what was taken; results do not change. It ends with -ENOMEM when there is no
 * memory even for what is always resident. Keys and values stay. The call waits for reads that
 * are under way; it and the next decode each send the device a request for every piece of
 * memory, so it is for programs that wait for a person, or for the next client. From any thread.
 * -EBUSY: another thread uses the model. -EOPNOTSUPP: weights are memory of the process ("host"),
 * of which the kernel cannot take a part and say so, or shared with others (share_dir):
 * linnet_model_set_memory() gives theirs back. After an error the model is not idle.
 */
int linnet_model_idle(struct linnet_model *m, struct linnet_error *err);

/*
 * The plan of a session, before any weight is read: which units of weights stay in
 * memory and which are read again in every pass. Errors as for linnet_model_memory().
 */
struct linnet_plan;
int linnet_plan_create(struct linnet_plan **out, const struct linnet_model *m,
		       const struct linnet_session_options *opts, struct linnet_error *err);
void linnet_plan_destroy(struct linnet_plan *p);
int linnet_plan_memory(const struct linnet_plan *p, struct linnet_memory_info *info);
/* The least memory_bytes with which such a session works at all. */
uint64_t linnet_plan_least(const struct linnet_plan *p);

/* Unit number i, in the order of a pass; -ENOENT past the end. */
struct linnet_plan_unit {
	size_t size;
	/* "tables", "embeddings", "attention", "gate", "up", "down", "router", "experts",
	 * "sum", "output" */
	const char *name;
	int32_t layer;		/* -1: of none */
	uint64_t bytes;
	bool streamed;
	bool cached;		/* those of the experts that are used most stay in memory */
};
int linnet_plan_unit(const struct linnet_plan *p, size_t i, struct linnet_plan_unit *unit);

/* Tensor number i of the file, in file order; -ENOENT past the end. */
struct linnet_tensor_info {
	size_t size;
	const char *name;
	const char *type_name;
	uint32_t n_dims;
	uint64_t ne[4];
	uint64_t bytes;
	uint64_t offset;	/* in its file */
	uint32_t file;
};
int linnet_model_tensor(const struct linnet_model *m, size_t i, struct linnet_tensor_info *info);

/*
 * Metadata entry number i: its key, its type's name ("u32", "str", "arr[str,32000]")
 * and its value as text (long arrays and strings are cut, and end in "..."). Writes
 * at most cap bytes to value, always terminated. -ENOENT past the end.
 */
int linnet_model_metadata(const struct linnet_model *m, size_t i, const char **key,
			  char *type, size_t type_cap, char *value, size_t cap);

/*
 * Print the model's command streams in words, one line per operation, through
 * write. Stops at the first non-zero return of write and returns it.
 */
int linnet_model_dump_streams(const struct linnet_model *m,
			      int (*write)(void *ctx, const char *text, size_t n), void *ctx);

/* ------------------------------------------------------------------ tokens */

enum {
	LINNET_TOKENIZE_SPECIAL = 1u << 0,	/* add BOS/EOS as the model asks */
	LINNET_TOKENIZE_PARSE = 1u << 1,	/* control tokens in the text are tokens */
};

/*
 * Text (n bytes, any content) to token ids. Returns the number of ids the text
 * has; only the first cap are written. -ENOTSUP: the model has no tokenizer;
 * -ENOMEM; -E2BIG: the text is longer than 1 GiB; -EILSEQ: the vocabulary has no way to
 * say a part of it.
 */
int64_t linnet_tokenize(const struct linnet_model *m, const char *text, size_t n, unsigned flags,
			int32_t *ids, size_t cap);

/*
 * Bytes of one token as they appear in text; may be part of a UTF-8 character.
 * Returns the length (only cap bytes are written); -EINVAL for an id that is not
 * in the vocabulary. Control tokens are empty unless special is set.
 */
int linnet_token_text(const struct linnet_model *m, int32_t id, bool special, char *buf,
		      size_t cap);

/* Detokenizer that emits whole UTF-8 characters only. */
struct linnet_detok;
/*
 * special: control tokens are text too. drop_lead: the tokens are those of a text from
 * its beginning, so the space that SentencePiece models put before it is dropped.
 */
int linnet_detok_create(struct linnet_detok **out, const struct linnet_model *m, bool special,
			bool drop_lead);
void linnet_detok_destroy(struct linnet_detok *d);
/*
 * Add a token; *text (valid until the next call) gets the characters that are
 * complete now, and the return value is their length in bytes or -errno. Bytes
 * that can never become UTF-8 come out as U+FFFD.
 */
int linnet_detok_push(struct linnet_detok *d, int32_t id, const char **text);
/* What is left at the end of the text. */
int linnet_detok_flush(struct linnet_detok *d, const char **text);

/* -1: the model has none. */
int32_t linnet_token_bos(const struct linnet_model *m);
int32_t linnet_token_eos(const struct linnet_model *m);
/* True for every token that ends a generation (EOS, end of turn, ...). */
bool linnet_token_is_end(const struct linnet_model *m, int32_t id);

/* ------------------------------------------------------------------- chat */

struct linnet_chat_message {
	const char *role;	/* "system", "user", "assistant" */
	const char *content;
};

/*
 * Render messages with the model's chat template (or tmpl when not NULL).
 * *text is malloc()ed, for free(). add_generation_prompt opens the assistant's
 * turn. -ENOENT: the model has no template; -EINVAL or -ENOTSUP: the template
 * cannot be used, and why; -E2BIG: the text would be too long.
 */
int linnet_chat_format(const struct linnet_model *m, const char *tmpl,
		       const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err);

/* --------------------------------------------------------------- sessions */

struct linnet_session;

/* Keys and values as the cache keeps them. Rounding them to half precision moves the
 * logits of a small model by some 5e-4 of the largest; F32 keeps what was computed. */
enum linnet_kv_type {
	LINNET_KV_F16 = 0,
	LINNET_KV_Q8_0 = 1,	/* head sizes are multiples of 32 */
	LINNET_KV_F32 = 2,
	LINNET_KV_Q4_0 = 3,	/* the same; for when nothing else fits */
};

struct linnet_session_options {
	size_t size;
	uint32_t n_ctx;			/* positions; 0: min(model's context, 4096) */
	uint32_t n_batch;		/* tokens per pass; 0: 512, or 128 when memory is short */
	uint32_t n_outputs;		/* rows of logits per pass; 0: 1 */
	enum linnet_kv_type kv_type;
	/*
	 * A folder for saved prefixes, see linnet_session_restore(); NULL: none. Made when it
	 * is not there. Any number of processes and models may use it.
	 */
	const char *kv_cache;
	uint64_t kv_cache_bytes;	/* that its files may take; 0: 4 GiB */
	uint32_t n_seqs;		/* sequences, of n_ctx positions each; 0: 1 */
	/* Positions that all sequences together have memory for, in whole pages of 256; what
	 * they share counts once. 0: n_seqs * n_ctx. */
	uint32_t n_kv;
	/*
	 * Memory that keys and values may take; what does not fit is kept in a file and read in
	 * every pass, ahead of its use. 0: no bound but the model's.
	 */
	uint64_t kv_memory;
	const char *kv_dir;	/* folder on a disk, for that file; NULL: kv_cache or /var/tmp */
};

/* Allocates KV cache and scratch; starts reading weights. */
int linnet_session_create(struct linnet_session **out, struct linnet_model *m,
			  const struct linnet_session_options *opts, struct linnet_error *err);
void linnet_session_destroy(struct linnet_session *s);

enum linnet_logits {
	LINNET_LOGITS_NONE = 0,
	LINNET_LOGITS_LAST = 1,		/* of the last token */
	LINNET_LOGITS_ALL = 2,		/* of every token; n <= n_outputs */
};

/*
 * Append n tokens to the sequence. Longer inputs than n_batch are cut
 * in passes. -ENOSPC: the context would overflow, nothing is done; -ERANGE: a
 * token is not in the vocabulary; -EINTR: linnet_session_interrupt() was called
 * (the tokens of finished passes stay); -EIO: a read failed again and again; -EBADMSG:
 * what was read has not its checksum (linnet_model_options.verify); -ESTALE: a file of the
 * model has changed since it was opened, and no decode will succeed any more. After any
 * other error the tokens of finished passes stay, and a later decode may succeed.
 */
int linnet_session_decode(struct linnet_session *s, const int32_t *ids, size_t n,
			  enum linnet_logits logits, struct linnet_error *err);

/*
 * Logits of output row i of the last decode: n_vocab floats, valid until the next
 * call on the session. NULL when there is no such row.
 */
const float *linnet_session_logits(const struct linnet_session *s, size_t i);

/* Tokens in the sequence now, and what it can hold. */
uint32_t linnet_session_length(const struct linnet_session *s);
uint32_t linnet_session_capacity(const struct linnet_session *s);
/* Forget all tokens from position n on. */
int linnet_session_truncate(struct linnet_session *s, uint32_t n);
/* Make a running decode end soon. May be called from a signal handler. */
void linnet_session_interrupt(struct linnet_session *s);

/*
 * Several sequences. Those of a session have numbers from 0 to n_seqs - 1; decode,
 * length, truncate, restore and save are about the selected one, which is number 0 at
 * first. -EINVAL: there is no such sequence.
 */
int linnet_session_select(struct linnet_session *s, uint32_t seq);
/*
 * Let sequence `to` be a copy of the selected one. It takes no memory: pages are shared
 * until one of the two writes to them.
 */
int linnet_session_fork(struct linnet_session *s, uint32_t to);

/* Tokens for one sequence, and which of their logits are wanted. */
struct linnet_tokens {
	uint32_t seq;
	const int32_t *ids;
	size_t n;
	enum linnet_logits logits;
};
/*
 * Append tokens to several sequences in one pass over the weights. Rows of logits are
 * numbered through: all of in[0], then all of in[1]. Each sequence gets what it would
 * get alone, to the bit. -EINVAL: no such sequence, one that is named twice, too many
 * rows; -E2BIG: more tokens than n_batch; -ENOSPC: a context would overflow, or all
 * positions of the KV cache are taken. After an error no sequence has changed.
 */
int linnet_session_step(struct linnet_session *s, const struct linnet_tokens *in, size_t n,
			struct linnet_error *err);

/*
 * Make the sequence the longest beginning of ids that the session holds already or
 * finds among the saved prefixes (whole pages of 256 tokens), and forget the rest.
 * Returns its length. What follows is as if the tokens had been decoded, to the bit;
 * there are no logits. A saved page that is damaged or does not fit is ignored and
 * counted in the statistics. -ERANGE: a token is not in the vocabulary.
 */
int64_t linnet_session_restore(struct linnet_session *s, const int32_t *ids, size_t n,
			       struct linnet_error *err);
/*
 * Save the whole pages of the sequence that are not saved yet. Without a folder nothing
 * happens. An error (-ENOSPC, -EFBIG, ...) is of no consequence for the session.
 */
int linnet_session_save(struct linnet_session *s, struct linnet_error *err);

struct linnet_stats {
	size_t size;
	uint64_t bytes_read;		/* weights read from disk */
	uint64_t read_ns;		/* from the first request to the last completion */
	uint64_t peak_bytes;		/* the process's peak resident memory */
	bool direct_io, io_uring, huge_pages;	/* what the reads really used */
	/* Empty, or why a wanted facility is not used ("io_uring: Operation not permitted"). */
	char note[160];
	uint64_t read_retries;		/* reads that were tried again or continued */
	uint64_t verified_bytes;	/* read again and found to be the same */
	/* Experts that layers needed: found in memory, and read. */
	uint64_t expert_hits, expert_misses;
	uint64_t kv_restored, kv_saved;	/* positions from and to saved prefixes */
	uint32_t kv_rejected;		/* files of saved prefixes that were ignored */
	char kv_note[160];		/* empty, or what was wrong with the last one */
	uint64_t shared_bytes;		/* weights that another process has read for us */
	uint64_t kv_written, kv_read;	/* bytes of the KV cache's part on disk */
	/* Of the experts that were read: ahead, by a guess of what the next layer will choose, and
	 * how many of those it did choose. */
	uint64_t expert_ahead, expert_ahead_used;
	uint64_t pool_bytes;		/* memory of weights that is pages of vm.nr_hugepages */
	uint64_t purged_bytes;		/* weights that the kernel took while the model was idle */
};
/* May be called from another thread while a decode runs: bytes_read then says how
 * far the reading is. */
int linnet_session_stats(const struct linnet_session *s, struct linnet_stats *stats);

/* --------------------------------------------------------------- sampling */

struct linnet_sampler;

struct linnet_sampler_options {
	size_t size;
	float temperature;	/* 0: greedy, the lowest id among equals */
	uint32_t top_k;		/* 0: off */
	float top_p;		/* 0 or 1: off */
	float min_p;		/* 0: off */
	float repeat_penalty;	/* 0 or 1: off */
	uint32_t repeat_last_n;	/* 0: 64 */
	uint64_t seed;
};

int linnet_sampler_create(struct linnet_sampler **out, const struct linnet_model *m,
			  const struct linnet_sampler_options *opts, struct linnet_error *err);
void linnet_sampler_destroy(struct linnet_sampler *s);
/* Choose a token from n_vocab logits and remember it. -ENOMEM; -EINVAL when no
 * logit is a number. */
int32_t linnet_sampler_sample(struct linnet_sampler *s, const float *logits);
/* Remember a token that was not sampled (a prompt's), for the repeat penalty. */
void linnet_sampler_accept(struct linnet_sampler *s, int32_t id);

/* ------------------------------------------------------------ speculation */

/*
 * Drafts of the next tokens: here out of the text itself. A draft is checked by decoding it
 * with LINNET_LOGITS_ALL and sampling row after row: rows up to the first token that
 * differs are what plain decoding would have given, to the bit, and linnet_session_
 * truncate() drops the rest. So the text is the same, with any sampler: a draft decides
 * nothing but how many rows of a pass are of use.
 */
struct linnet_lookup;
int linnet_lookup_create(struct linnet_lookup **out);
void linnet_lookup_destroy(struct linnet_lookup *l);
/* Add a token of the text. -ENOMEM, -ENOSPC. */
int linnet_lookup_push(struct linnet_lookup *l, int32_t id);
/* Tokens that may follow the text, at most cap. Returns how many. */
size_t linnet_lookup_draft(const struct linnet_lookup *l, int32_t *ids, size_t cap);

/*
 * Drafts by a small model of the same vocabulary: its likeliest tokens. s is a session of
 * that model, for this alone, and outlives the draft; m is the model whose tokens are
 * drafted. -EINVAL: the vocabularies differ, and where.
 */
struct linnet_draft;
int linnet_draft_create(struct linnet_draft **out, const struct linnet_model *m,
			struct linnet_session *s, struct linnet_error *err);
void linnet_draft_destroy(struct linnet_draft *d);
/* Add a token of the text. -ENOMEM, -ENOSPC. */
int linnet_draft_push(struct linnet_draft *d, int32_t id);
/* Forget the text from token n on. -EINVAL: it is shorter. */
int linnet_draft_truncate(struct linnet_draft *d, uint32_t n);
/*
 * Tokens that may follow the text, at most cap: none when the session's context does not
 * hold the text. Returns how many, or what linnet_session_decode() returns.
 */
int64_t linnet_draft_next(struct linnet_draft *d, int32_t *ids, size_t cap,
			  struct linnet_error *err);

/* ---------------------------------------------------------------- devices */

struct linnet_device_info {
	size_t size;
	char path[64];
	bool usable;		/* by the engine "accel" */
	unsigned n_threads;	/* 0: not known */
	char isa[32];
	uint64_t max_region_bytes;
	char note[160];		/* why it is not usable */
};

/*
 * The i-th Linnet device of the machine; nodes that may not be opened are counted.
 * -ENOENT: there are no more. -EOPNOTSUPP: the library was built without libdrm.
 */
int linnet_device_info(unsigned i, struct linnet_device_info *info);

/* -------------------------------------------------------------- measuring */

struct linnet_kernels_options {
	size_t size;
	unsigned n_threads;	/* 0: one for each core the process may use */
	const char *isa;	/* NULL: LINNET_CPU, or the best */
	const char *type;	/* of weights, keys and values, "Q4_0"; NULL: all */
	unsigned ms;		/* for each row, at least; 0: 200 */
};

/*
 * An operation on some tokens, as the engine runs it: "matmul", a product of weights with
 * their activations, or "attention", of 32 heads over 8 of keys and values.
 */
struct linnet_kernels_row {
	size_t size;
	const char *isa, *type;	/* of weights, or of keys and values */
	unsigned n_threads;
	/* Of the matrix; or positions that the last token sees, and dimensions of a head. */
	uint32_t n_rows, n_cols;
	uint32_t n_tokens;
	/* Best of the repeats. Weights, or keys and values, read, bytes a second;
	 * multiplications and additions a second. */
	double bytes, ops;
	/* What the machine did in the same moments: bytes a second of a plain read of the
	 * same bytes by as many threads, and int8 operations a second of registers
	 * alone (0: the level has none, or products of the type are no integers; attention
	 * makes two of each that ops counts). */
	double read, peak;
	const char *op;
};

/*
 * Measure the products of the host engine for one token, a few and a prompt, on weights
 * that leave the caches, then its attention for one token and for a prompt that ends at
 * position 4096; about 100 MB. row() is called with each result and may end the
 * measuring with a value other than 0, which is returned. -EINVAL, -ENOTSUP: no such
 * type or instruction set.
 */
int linnet_kernels_measure(const struct linnet_kernels_options *opts,
			   int (*row)(void *ctx, const struct linnet_kernels_row *r), void *ctx,
			   struct linnet_error *err);

/* What the machine can do by itself at this moment, the best of a few tries. */
struct linnet_machine_rates {
	size_t size;
	double read;		/* bytes a second of a plain read of memory */
	double int8;		/* int8 operations a second of registers; 0: not known */
};

/*
 * Measure them with the host engine's instructions and as many threads, for opts->ms or
 * 50 ms; about 100 MB. Machines whose speed drifts are measured before and after what is
 * held against them.
 */
int linnet_machine_measure(const struct linnet_kernels_options *opts,
			   struct linnet_machine_rates *rates, struct linnet_error *err);

#ifdef __cplusplus
}
#endif

#endif /* LINNET_LINNET_H */
