/* SPDX-License-Identifier: MIT */
/* Opening models and sessions for the subcommands, and decoding with a progress line. */
#ifndef LINNET_TOOL_MODEL_H
#define LINNET_TOOL_MODEL_H

#include "options.h"

#include <linnet/linnet.h>

struct model_args {
	const char *path;
	int64_t threads;
	int engine;		/* index in engine_names */
	bool no_direct_io;
	bool no_io_uring;
	int numa;		/* index in numa_names */
	bool share;
	uint64_t memory;	/* bytes; 0: automatic */
	uint64_t read_bandwidth;	/* bytes per second; 0: no bound */
	int64_t read_depth;		/* requests at once; 0: the library's default */
	bool verify;
};

struct session_args {
	int64_t ctx;
	int64_t batch;
	int kv_type;		/* enum linnet_kv_type */
	const char *kv_cache;	/* folder of saved prefixes; NULL: none */
	uint64_t kv_cache_size;	/* bytes; 0: the library's default */
	uint64_t kv_memory;	/* bytes; 0: no limit */
	uint32_t n_seqs;	/* sequences; 0: one */
	uint64_t n_kv;		/* positions of all of them; 0: as many as they can have */
};

extern const char *const engine_names[];
extern const char *const numa_names[];
extern const char *const kv_type_names[];	/* by enum linnet_kv_type */

#define OPTS_MODEL_FILE(a)							\
	{ OPT_GROUP, .help = "Model" },						\
	{ OPT_TEXT, 'm', "model", "FILE", "GGUF file, any part of a split one\n"	\
	  "(default: the demo model)", &(a)->path }

#define OPTS_MEMORY(a)								\
	{ OPT_SIZE, 0, "memory", "SIZE", "use no more memory than SIZE, for example 512M or\n"	\
	  "1.5G; weights that do not fit are read again in every\n"		\
	  "pass; auto: what the machine leaves; none: no limit\n"		\
	  "(default: auto)", &(a)->memory }

#define OPTS_READING(a)								\
	{ OPT_FLAG, 0, "no-direct-io", NULL, "read the weights through the page cache",	\
	  &(a)->no_direct_io },							\
	{ OPT_FLAG, 0, "no-io-uring", NULL,						\
	  "read with threads and preadv2 instead of io_uring",				\
	  &(a)->no_io_uring },								\
	{ OPT_SIZE, 0, "read-bandwidth", "SIZE",						\
	  "read no more than SIZE a second, for example 200M\n"				\
	  "(default: none)", &(a)->read_bandwidth },					\
	{ OPT_INT, 0, "read-depth", "N",							\
	  "requests of 2 MiB in flight at once; linnet plan measures\n"			\
	  "what others would give (default: 12)", &(a)->read_depth, 1,			\
	  LINNET_READ_DEPTH_MOST },							\
	{ OPT_FLAG, 0, "verify", NULL, "check what is read again: it must have the checksum\n"	\
	  "of the first time", &(a)->verify }

#define OPTS_ENGINE(a)								\
	{ OPT_CHOICE, 0, "engine", "NAME",					\
	  "who computes: host (the CPU), accel (a Linnet device), or\n"	\
	  "auto: a device if there is one (default: auto)",			\
	  &(a)->engine, .choices = engine_names }

#define OPTS_MODEL(a)								\
	OPTS_MODEL_FILE(a),							\
	OPTS_MEMORY(a),								\
	OPTS_ENGINE(a),								\
	{ OPT_INT, 't', "threads", "N", "threads that compute (default: one for each CPU)",	\
	  &(a)->threads, 1, 1024 },						\
	{ OPT_CHOICE, 0, "numa", "MODE",						\
	  "on machines of several memory nodes: auto spreads the\n"		\
	  "weights over them and keeps each thread on one; off\n"		\
	  "leaves that to the kernel (default: auto)", &(a)->numa,		\
	  .choices = numa_names },						\
	OPTS_READING(a),							\
	{ OPT_FLAG, 0, "share", NULL, "hold the weights once, together with other processes\n"	\
	  "that share the same file; they find each other in\n"		\
	  "$XDG_RUNTIME_DIR", &(a)->share }

/* usual: the name of the type that (a)->kv_type starts with */
#define OPTS_KV(a, usual)							\
	{ OPT_CHOICE, 0, "kv-type", "TYPE",					\
	  "type of the KV cache: f16, q8_0, q4_0 or f32\n(default: " usual ")",	\
	  &(a)->kv_type, .choices = kv_type_names },				\
	{ OPT_INT, 'b', "batch-size", "N", "tokens in one pass (default: 512)",	\
	  &(a)->batch, 1, 65536 }

#define OPTS_SESSION(a)								\
	{ OPT_INT, 'c', "ctx", "N", "positions in the context (default: what the model was\n"	\
	  "trained for, at most 4096 unless prompt and -n need more)",		\
	  &(a)->ctx, 1, INT32_MAX },						\
	{ OPT_SIZE, 0, "kv-memory", "SIZE",					\
	  "memory for keys and values; what does not fit is kept\n"		\
	  "in a file, in --kv-cache's folder or $TMPDIR or\n"			\
	  "/var/tmp, and read in every pass (default: none, no\n"		\
	  "limit)", &(a)->kv_memory },						\
	OPTS_KV(a, "f16")

#define OPTS_KV_CACHE(a)							\
	{ OPT_TEXT, 0, "kv-cache", "DIR",					\
	  "save keys and values of finished texts in DIR, and\n"		\
	  "start from there where a later text begins alike; the\n"		\
	  "text is the same", &(a)->kv_cache },					\
	{ OPT_SIZE, 0, "kv-cache-size", "SIZE",					\
	  "keep the files of --kv-cache below SIZE: what was used\n"		\
	  "longest ago goes first (default: 4G)", &(a)->kv_cache_size }

/*
 * Open the model, or the demo model when no path is given (args->path then becomes
 * its path). A status, with a message unless it is TOOL_OK.
 */
int model_open(struct linnet_model **out, struct model_args *args, bool vocab_only);

/* The path of the demo model beside the program, or NULL. */
const char *model_demo_path(void);

struct linnet_model_info model_info(const struct linnet_model *m);

/*
 * Options for a session that holds n_tokens positions where --ctx does not say
 * otherwise; says so when not all weights stay in memory. A status, with a message
 * unless it is TOOL_OK.
 */
int model_session(struct linnet_session **out, struct linnet_model *m,
		  const struct model_args *margs, const struct session_args *args,
		  uint64_t n_tokens, uint32_t n_outputs);

/* Positions of the context of such a session. */
uint32_t model_context(const struct linnet_model *m, const struct session_args *args,
		       uint64_t n_tokens);
/* linnet_model_memory() of such a session; 0 or -errno. */
int model_memory(const struct linnet_model *m, const struct session_args *args,
		 uint64_t n_tokens, uint32_t n_outputs, struct linnet_memory_info *mem,
		 struct linnet_error *err);

/*
 * Make the session hold as much of the text as it does or as its saved prefixes do, but
 * the last token, whose logits are wanted. Returns how many tokens those are.
 */
uint32_t model_restore(struct linnet_session *s, const int32_t *ids, size_t n);
/* Save what is new; a note says when that fails. */
void model_save(struct linnet_session *s);

/*
 * linnet_session_decode() of many tokens, with a progress line while the weights
 * are read and the tokens are computed. Logits are those of the last token, or
 * none. Returns what linnet_session_decode() does.
 */
int model_prefill(struct linnet_session *s, const struct linnet_model *m, const int32_t *ids,
		  size_t n, bool logits, struct linnet_error *err);

#endif
