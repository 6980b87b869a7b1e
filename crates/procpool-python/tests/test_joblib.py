"""joblib with its backend ``procpool``."""

import math

import pytest
import support
from programs import run_program

import procpool

joblib = pytest.importorskip("joblib", reason="SKIPPED: joblib is not installed")


def test_parallel():
    procpool.register_joblib()
    with joblib.parallel_config(backend="procpool", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(support.square)(n) for n in range(100)) == [n * n for n in range(100)]
        assert joblib.Parallel()(joblib.delayed(lambda x: x + 1)(n) for n in range(3)) == [1, 2, 3]
        assert joblib.Parallel()(joblib.delayed(math.sqrt)(n) for n in [4, 9]) == [2, 3]
        with pytest.raises(ArithmeticError):
            joblib.Parallel()(joblib.delayed(support.die)("error") for _ in range(3))
        with pytest.raises(procpool.WorkerDied):
            joblib.Parallel()(joblib.delayed(support.die)("kill") for _ in range(3))
        generated = joblib.Parallel(return_as="generator")(joblib.delayed(support.square)(n) for n in range(10))
        assert list(generated) == [n * n for n in range(10)]
    assert joblib.Parallel(n_jobs=1, backend="procpool")(joblib.delayed(support.square)(n) for n in range(3)) == [0, 1, 4]


def test_a_grid_search():
    svm = pytest.importorskip("sklearn.svm", reason="SKIPPED: scikit-learn is not installed")
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV

    data = load_iris()
    search = GridSearchCV(svm.SVC(), {"C": [0.1, 1, 10]}, n_jobs=2, cv=3)
    alone = GridSearchCV(svm.SVC(), {"C": [0.1, 1, 10]}, n_jobs=1, cv=3).fit(data.data, data.target)
    with joblib.parallel_config(backend="procpool"):
        search.fit(data.data, data.target)
    assert search.best_params_ == alone.best_params_
    assert list(search.cv_results_["mean_test_score"]) == list(alone.cv_results_["mean_test_score"])


@pytest.mark.parametrize("order", ["import joblib, procpool", "import procpool, joblib", "import procpool"])
def test_joblib_finds_the_backend_by_its_name(order):
    code, out, err = run_program(
        f"""
        {order}
        import joblib
        with joblib.parallel_config(backend="procpool", n_jobs=2):
            print(joblib.Parallel()(joblib.delayed(abs)(n) for n in [-1, -2, -3]))
        """
    )
    assert (code, out, err) == (0, "[1, 2, 3]\n", "")
