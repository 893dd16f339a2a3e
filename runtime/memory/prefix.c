// SPDX-License-Identifier: MIT
/* Keeps prefix.h. */
#include "prefix.h"

#include "runtime/util/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linnet/stream.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define BLOCK		4096u			/* of files, for direct I/O */
#define REQUEST		((size_t)2 << 20)	/* of reading and writing */
#define LOCK_NAME	"lock"
#define SUFFIX		".kv"
#define TEMPORARY	".tmp"
#define NAME_BYTES	64
#define HEX		32			/* digits of the hash in a name */

struct linnet_prefix {
	char *dir;			/* for messages */
	int fd;				/* of the folder */
	uint64_t max_bytes, page_bytes;
	struct linnet_hash128 model;
	uint32_t n_temporary;		/* tells this process's temporary files apart */
	struct linnet_prefix_stats stats;
};

static uint64_t header_bytes(uint32_t page)
{
	const uint64_t n = sizeof(struct linnet_prefix_header) +
			   ((uint64_t)page + 1) * LINNET_KV_PAGE * sizeof(int32_t);

	return (n + BLOCK - 1) / BLOCK * BLOCK;
}

uint64_t linnet_prefix_bytes(uint32_t n_ctx)
{
	return header_bytes(n_ctx / LINNET_KV_PAGE) + sizeof(struct linnet_prefix);
}

static struct linnet_hash128 hash(const void *data, size_t n)
{
	const XXH128_hash_t h = XXH3_128bits(data, n);

	return (struct linnet_hash128){ { h.low64, h.high64 } };
}

static bool equal(struct linnet_hash128 a, struct linnet_hash128 b)
{
	return a.v[0] == b.v[0] && a.v[1] == b.v[1];
}

__attribute__((format(printf, 2, 3)))
static void save_note(struct linnet_prefix *p, const char *fmt, ...)
{
	char *to = p->stats.save_note;
	const size_t size = sizeof(p->stats.save_note);
	const int n = snprintf(to, size, "%.200s: saved prefixes: ", p->dir);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, size - (size_t)n, fmt, ap);
	va_end(ap);
}

int linnet_prefix_open(struct linnet_prefix **out, const char *dir, uint64_t max_bytes,
		       struct linnet_hash128 model, uint64_t page_bytes, struct linnet_error *err)
{
	struct linnet_prefix *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return linnet_err(err, -ENOMEM, "%s: out of memory", dir);
	p->fd = -1;
	p->max_bytes = max_bytes;
	p->page_bytes = page_bytes;
	p->model = model;
	p->dir = strdup(dir);
	if (!p->dir) {
		ret = linnet_err(err, -ENOMEM, "%s: out of memory", dir);
		goto err_close;
	}
	/* what a text was can be told from its keys and values */
	if (mkdir(dir, 0700) && errno != EEXIST) {
		ret = -errno;
		linnet_err(err, ret, "%s: cannot make the folder of saved prefixes: %s", dir,
			   strerror(-ret));
		goto err_close;
	}
	p->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->fd < 0) {
		ret = -errno;
		linnet_err(err, ret, "%s: cannot use the folder of saved prefixes: %s", dir,
			   strerror(-ret));
		goto err_close;
	}
	*out = p;
	return 0;

err_close:
	linnet_prefix_close(p);
	return ret;
}

void linnet_prefix_close(struct linnet_prefix *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	free(p->dir);
	free(p);
}

/* "HASH-PAGE.kv": the number is for those who look, and for the order of eviction. */
static void file_name(const struct linnet_prefix *p, const int32_t *ids, uint32_t page,
		      char name[NAME_BYTES])
{
	const size_t n = ((size_t)page + 1) * LINNET_KV_PAGE * sizeof(*ids);
	struct linnet_hash128 h[2] = { p->model, hash(ids, n) };

	h[0] = hash(h, sizeof(h));
	snprintf(name, NAME_BYTES, "%016llx%016llx-%06u" SUFFIX, (unsigned long long)h[0].v[1],
		 (unsigned long long)h[0].v[0], page);
}

/* The header of a page as it has to be, in blocks; page_sum is left zero. NULL: no memory. */
static struct linnet_prefix_header *make_header(const struct linnet_prefix *p, const int32_t *ids,
						uint32_t page)
{
	const size_t bytes = header_bytes(page);
	struct linnet_prefix_header *h = aligned_alloc(BLOCK, bytes);

	if (!h)
		return NULL;
	memset(h, 0, bytes);
	memcpy(h->magic, LINNET_PREFIX_MAGIC, sizeof(h->magic));
	h->version = LINNET_PREFIX_VERSION;
	h->n_tokens = (page + 1) * LINNET_KV_PAGE;
	h->header_bytes = bytes;
	h->page_bytes = p->page_bytes;
	h->model = p->model;
	memcpy(h + 1, ids, h->n_tokens * sizeof(*ids));
	return h;
}

/* Direct I/O where the file system has it: a page is read or written once, and the
 * memory budget has no room for a second copy. */
static int open_direct(const struct linnet_prefix *p, const char *name, int flags)
{
	int fd = openat(p->fd, name, flags | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = openat(p->fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd;
}

/* Mark a file as used now. Each page of a text counts as a second older than the one
 * before it, which it is of no use without. */
static void touch(int fd, uint32_t page)
{
	struct timespec t[2];

	clock_gettime(CLOCK_REALTIME, &t[0]);
	t[0].tv_sec -= page;
	t[1] = t[0];
	/* somebody else's file: then the order of eviction is theirs */
	if (futimens(fd, t))
		return;
}

/* ------------------------------------------------------------------------ loading */

struct load {
	struct linnet_read *read;
	size_t n, left;
	int error;
};

static void load_done(struct linnet_read *r, int result)
{
	struct load *l = r->ctx;

	l->left--;
	if (result && !l->error)
		l->error = result;
}

/* The page, from offset on, through the queue. */
static int read_page(const struct linnet_prefix *p, struct linnet_queue *q, int fd,
		     uint64_t offset, char *buf)
{
	struct load l = { .n = (p->page_bytes + REQUEST - 1) / REQUEST };

	l.read = calloc(l.n, sizeof(*l.read));
	if (!l.read)
		return -ENOMEM;
	l.left = l.n;
	for (size_t i = 0; i < l.n; i++) {
		struct linnet_read *r = &l.read[i];
		const uint64_t at = i * REQUEST;

		*r = (struct linnet_read){
			.fd = fd, .buf = buf + at, .offset = offset + at,
			.bytes = p->page_bytes - at < REQUEST ? p->page_bytes - at : REQUEST,
			.align = BLOCK, .urgent = true, .done = load_done, .ctx = &l,
		};
		r->need = r->bytes;
		linnet_queue_read(q, r);
	}
	while (l.left)
		linnet_queue_wait(q);
	free(l.read);
	return l.error;
}

/* Read n bytes at the file's beginning; a file that has fewer: -ENODATA. */
static int read_header(int fd, char *buf, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = pread(fd, buf + at, n - at, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			return -ENODATA;
		at += (size_t)got;
	}
	return 0;
}

/* NULL: the header is that of the page. */
static const char *check_header(const struct linnet_prefix_header *want,
				struct linnet_prefix_header *got)
{
	const struct linnet_hash128 sum = got->sum, page_sum = got->page_sum;

	memset(&got->sum, 0, sizeof(got->sum));
	if (!equal(hash(got, want->header_bytes), sum))
		return "the header's checksum is wrong";
	memset(&got->page_sum, 0, sizeof(got->page_sum));
	if (memcmp(got, want, want->header_bytes))
		return "it is of another text, model or version";
	got->sum = sum;
	got->page_sum = page_sum;
	return NULL;
}

static void reject(struct linnet_prefix *p, const char *name, const char *why)
{
	p->stats.rejected++;
	snprintf(p->stats.note, sizeof(p->stats.note), "%.48s ignored: %s", name, why);
}

int linnet_prefix_load(struct linnet_prefix *p, struct linnet_queue *q, const int32_t *ids,
		       uint32_t page, void *buf)
{
	struct linnet_prefix_header *want, *got = NULL;
	const char *wrong = NULL;
	char name[NAME_BYTES];
	struct stat st;
	int fd, ret = 0;

	file_name(p, ids, page, name);
	fd = open_direct(p, name, O_RDONLY);
	if (fd < 0) {
		if (errno != ENOENT)
			reject(p, name, strerror(errno));
		return 0;
	}
	want = make_header(p, ids, page);
	got = aligned_alloc(BLOCK, header_bytes(page));
	if (!want || !got) {
		reject(p, name, "out of memory");
		goto out;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != want->header_bytes + p->page_bytes) {
		wrong = "its size is wrong";
		goto out;
	}
	ret = read_header(fd, (char *)got, want->header_bytes);
	if (ret) {
		reject(p, name, strerror(-ret));
		ret = 0;
		goto out;
	}
	wrong = check_header(want, got);
	if (wrong)
		goto out;
	ret = read_page(p, q, fd, want->header_bytes, buf);
	if (ret) {
		reject(p, name, strerror(-ret));
		goto out;
	}
	if (!equal(hash(buf, p->page_bytes), got->page_sum)) {
		wrong = "the page's checksum is wrong";
		ret = -EBADMSG;
		goto out;
	}
	touch(fd, page);
	p->stats.loaded++;
	ret = 1;
out:
	if (wrong) {
		/* it would be found wrong every time, and stand in the way of a right one */
		reject(p, name, wrong);
		unlinkat(p->fd, name, 0);
	}
	free(want);
	free(got);
	close(fd);
	return ret;
}

/* ------------------------------------------------------------------------- saving */

struct saved {
	struct timespec time;
	uint64_t bytes;
	char name[NAME_BYTES];
};

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* One of our files? Others in the folder are left alone. */
static bool is_ours(const char *name, bool *temporary)
{
	const size_t n = strlen(name);

	for (int i = 0; i < HEX; i++)
		if (!is_hex(name[i]))
			return false;
	if (name[HEX] != '-' || n >= NAME_BYTES)
		return false;
	*temporary = !strcmp(name + n - strlen(TEMPORARY), TEMPORARY);
	return *temporary || !strcmp(name + n - strlen(SUFFIX), SUFFIX);
}

/* Its writer is gone? */
static bool is_abandoned(const struct linnet_prefix *p, const char *name)
{
	int fd = openat(p->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool gone;

	if (fd < 0)
		return false;
	gone = !flock(fd, LOCK_EX | LOCK_NB);
	close(fd);
	return gone;
}

static int oldest_first(const void *a, const void *b)
{
	const struct saved *x = a, *y = b;

	if (x->time.tv_sec != y->time.tv_sec)
		return x->time.tv_sec < y->time.tv_sec ? -1 : 1;
	if (x->time.tv_nsec != y->time.tv_nsec)
		return x->time.tv_nsec < y->time.tv_nsec ? -1 : 1;
	/* of one age: late pages of a text first */
	return strcmp(y->name + HEX, x->name + HEX);
}

/* What the folder holds; abandoned temporary files are removed. */
static int scan(struct linnet_prefix *p, struct saved **out, size_t *n, uint64_t *total)
{
	int fd = openat(p->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct saved *list = NULL;
	struct dirent *e;
	size_t cap = 0;
	int ret = 0;

	*n = 0;
	*total = 0;
	if (!d) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	while ((e = readdir(d))) {
		bool temporary;
		struct stat st;

		if (!is_ours(e->d_name, &temporary) ||
		    fstatat(p->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		if (temporary && is_abandoned(p, e->d_name)) {
			unlinkat(p->fd, e->d_name, 0);
			continue;
		}
		*total += (uint64_t)st.st_size;
		if (temporary)
			continue;
		if (*n == cap) {
			struct saved *more = realloc(list, (2 * cap + 64) * sizeof(*list));

			if (!more) {
				ret = -ENOMEM;
				break;
			}
			list = more;
			cap = 2 * cap + 64;
		}
		list[*n].time = st.st_mtim;
		list[*n].bytes = (uint64_t)st.st_size;
		memcpy(list[(*n)++].name, e->d_name, strlen(e->d_name) + 1);
	}
	closedir(d);
	if (ret) {
		free(list);
		return ret;
	}
	*out = list;
	return 0;
}

/* Make room for bytes. Called with the folder locked. */
static int evict(struct linnet_prefix *p, uint64_t bytes)
{
	struct saved *list = NULL;
	uint64_t total;
	size_t n;
	int ret;

	if (bytes > p->max_bytes) {
		save_note(p,
			  "not saved: a page takes more than the folder's limit "
			  "(%llu of %llu bytes)",
			  (unsigned long long)bytes, (unsigned long long)p->max_bytes);
		return -EFBIG;
	}
	ret = scan(p, &list, &n, &total);
	if (ret)
		return ret;
	if (n)
		qsort(list, n, sizeof(*list), oldest_first);
	for (size_t i = 0; i < n && total > p->max_bytes - bytes; i++) {
		if (unlinkat(p->fd, list[i].name, 0) && errno != ENOENT)
			continue;
		total -= list[i].bytes;
		p->stats.evicted++;
	}
	free(list);
	if (total > p->max_bytes - bytes) {
		/* what others are writing just now */
		save_note(p, "not saved: the folder is full");
		return -ENOSPC;
	}
	return 0;
}

/*
 * A temporary file of the size that it will have. The lock makes counting and creating
 * one step for all processes, and tells a file in work from an abandoned one.
 */
static int start_file(struct linnet_prefix *p, const char *name, char temporary[NAME_BYTES],
		      uint64_t bytes, int *fd)
{
	int lock = openat(p->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), ret;

	*fd = -1;
	if (lock < 0)
		return -errno;
	while ((ret = flock(lock, LOCK_EX)) && errno == EINTR)
		;
	if (ret) {
		ret = -errno;
		goto out;
	}
	ret = evict(p, bytes);
	if (ret)
		goto out;
	snprintf(temporary, NAME_BYTES, "%.39s.%x.%x" TEMPORARY, name, (unsigned)getpid(),
		 p->n_temporary++);
	*fd = open_direct(p, temporary, O_RDWR | O_CREAT | O_EXCL);
	if (*fd < 0) {
		ret = -errno;
		goto out;
	}
	if (flock(*fd, LOCK_EX | LOCK_NB) ||
	    (fallocate(*fd, 0, 0, (off_t)bytes) &&
	     (errno != EOPNOTSUPP || ftruncate(*fd, (off_t)bytes)))) {
		ret = -errno;
		unlinkat(p->fd, temporary, 0);
		close(*fd);
		*fd = -1;
	}
out:
	close(lock);
	return ret;
}

static int write_all(int fd, const char *buf, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t done = pwrite(fd, buf, n < REQUEST ? n : REQUEST, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EINVAL && fcntl(fd, F_GETFL) & O_DIRECT) {
			/* opened direct and written not: some file systems do */
			if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT))
				return -errno;
			continue;
		}
		if (done < 0)
			return -errno;
		if (!done)
			return -EIO;
		buf += done;
		offset += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

int linnet_prefix_save(struct linnet_prefix *p, const int32_t *ids, uint32_t page,
		       const void *buf)
{
	char name[NAME_BYTES], temporary[NAME_BYTES];
	struct linnet_prefix_header *h;
	int fd, ret;

	file_name(p, ids, page, name);
	fd = openat(p->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		touch(fd, page);
		close(fd);
		return 0;
	}
	h = make_header(p, ids, page);
	if (!h)
		return -ENOMEM;
	h->page_sum = hash(buf, p->page_bytes);
	h->sum = hash(h, h->header_bytes);
	p->stats.save_note[0] = '\0';
	ret = start_file(p, name, temporary, h->header_bytes + p->page_bytes, &fd);
	if (ret)
		goto out;
	ret = write_all(fd, (const char *)h, h->header_bytes, 0);
	if (!ret)
		ret = write_all(fd, buf, p->page_bytes, h->header_bytes);
	/* the name must never stand for what a crash may still take away */
	if (!ret && fsync(fd))
		ret = -errno;
	if (!ret) {
		touch(fd, page);
		if (renameat(p->fd, temporary, p->fd, name))
			ret = -errno;
	}
	if (ret)
		unlinkat(p->fd, temporary, 0);
	close(fd);
	if (!ret) {
		p->stats.saved++;
		ret = 1;
	}
out:
	if (ret < 0 && !p->stats.save_note[0])
		save_note(p, "not saved: %s", strerror(-ret));
	free(h);
	return ret;
}

void linnet_prefix_sync(struct linnet_prefix *p)
{
	/* without it the files are there or not, and right if they are */
	if (fsync(p->fd))
		save_note(p, "%s", strerror(errno));
}

void linnet_prefix_stats(const struct linnet_prefix *p, struct linnet_prefix_stats *stats)
{
	*stats = p->stats;
}
