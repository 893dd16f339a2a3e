// SPDX-License-Identifier: MIT
/*
 * The queue's back end where io_uring is refused (container profiles do so): a few
 * threads that call preadv2 and pwritev2.
 */
#include "queue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>

#define THREADS 4
/* Of a thread that makes one system call: where address space is limited, the usual 8 MiB of
 * each would be missing elsewhere. */
#define STACK_BYTES ((size_t)256 << 10)

struct list {
	struct linnet_read *first, **last;
};

struct threads {
	pthread_t thread[THREADS];
	unsigned n;
	pthread_mutex_t lock;
	pthread_cond_t work, ended;
	struct list todo, done;
	bool stop;
};

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct list *l, struct linnet_read *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static struct linnet_read *list_take(struct list *l)
{
	struct linnet_read *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->last = &l->first;
	}
	return r;
}

static void *worker(void *arg)
{
	struct threads *t = arg;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct linnet_read *r = list_take(&t->todo);
		struct iovec iov;
		ssize_t n;

		if (!r) {
			if (t->stop)
				break;
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		iov = (struct iovec){ r->buf + r->got, r->bytes - r->got };
		n = r->write ? pwritev2(r->fd, &iov, 1, r->offset + r->got, 0) :
			       preadv2(r->fd, &iov, 1, r->offset + r->got, 0);
		r->result = n < 0 ? -errno : (int)n;
		pthread_mutex_lock(&t->lock);
		list_add(&t->done, r);
		pthread_cond_signal(&t->ended);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void threads_start(void *b, struct linnet_read *r)
{
	struct threads *t = b;

	pthread_mutex_lock(&t->lock);
	list_add(&t->todo, r);
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

static void threads_flush(void *b)
{
}

static struct linnet_read *threads_reap(void *b, unsigned n)
{
	struct threads *t = b;
	struct linnet_read *r;

	pthread_mutex_lock(&t->lock);
	while (!(r = list_take(&t->done)) && n)
		pthread_cond_wait(&t->ended, &t->lock);
	pthread_mutex_unlock(&t->lock);
	return r;
}

static void threads_destroy(void *b)
{
	struct threads *t = b;

	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (unsigned i = 0; i < t->n; i++)
		pthread_join(t->thread[i], NULL);
	pthread_cond_destroy(&t->ended);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static const struct linnet_queue_backend threads_ops = {
	.start = threads_start,
	.flush = threads_flush,
	.reap = threads_reap,
	.destroy = threads_destroy,
};

int linnet_queue_threads(void **out, const struct linnet_queue_backend **ops, unsigned depth)
{
	struct threads *t = calloc(1, sizeof(*t));
	sigset_t all, old;
	pthread_attr_t attr;
	int ret = 0;

	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->ended, NULL);
	list_init(&t->todo);
	list_init(&t->done);
	/* signals are the program's affair */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (t->n < THREADS && t->n < depth && !ret) {
		ret = pthread_create(&t->thread[t->n], &attr, worker, t);
		t->n += !ret;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!t->n) {
		threads_destroy(t);
		return -ret;
	}
	*out = t;
	*ops = &threads_ops;
	return 0;
}
