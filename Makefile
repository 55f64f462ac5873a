# `make` lists the targets. They need python3 (3.11 or newer) only; `make report` needs LaTeX too.

PYTHON := .venv/bin/python
empty :=
PROJECT := Proj_$(subst $(empty) ,_,$(strip $(SCIPERS)))

.PHONY: help run test results report weights zip submission clean

help:
	@echo 'make run      grade the pretrained network and a short training, and draw out/example.png'
	@echo 'make test     lint, check types and run the tests'
	@echo 'make results  write report/RESULTS.md from the results files'
	@echo 'make report   typeset report/Report_1.pdf'
	@echo 'make weights PHOTOS=DIR   train bestmodel.pth, an hour or more; typed again, it goes on'
	@echo 'make zip SCIPERS="111111 222222 333333"          the zip to hand in'
	@echo 'make submission SCIPERS="111111 222222 333333"   ... unpacked and graded'
	@echo 'make clean    remove what these made, but for .venv and data'

# Trains on generated scenes and measures on photos, both without a download.
run: .venv/.stamp out/data/train_data.pkl
	$(PYTHON) test.py -d out/data
	$(PYTHON) -m Miniproject_1.others.picture -o out/example.png
	@echo 'Look at out/example.png, then denoise an image of your own:'
	@echo '  .venv/bin/python -m Miniproject_1 denoise IMAGE -o denoised --compare'

out/data/train_data.pkl: | .venv/.stamp
	$(PYTHON) -m Miniproject_1 data -o out/data --pairs 3000 --sample-photos

# Two processes take a file of tests at a time.
test: .venv/.stamp
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q -n 2 --dist loadfile

# Made anew only when requirements.txt changes.
.venv/.stamp: requirements.txt
	python3 -m venv .venv || { \
		echo 'error: no venv module; on Debian: apt-get install python3-venv' >&2; exit 2; }
	$(PYTHON) -m pip install --quiet -r requirements.txt
	touch $@

results: .venv/.stamp
	$(PYTHON) -m Miniproject_1.others.study.page

report: .venv/.stamp
	@command -v pdflatex >/dev/null || { echo 'error: pdflatex is missing; on Debian: apt-get' \
		'install texlive-latex-recommended texlive-fonts-recommended' >&2; exit 2; }
	$(PYTHON) -m Miniproject_1.others.study.figures
	cd report && for pass in 1 2; do \
		pdflatex -interaction=nonstopmode -halt-on-error -jobname=Report_1 report.tex || exit; \
	done

weights: .venv/.stamp
	@test -d '$(PHOTOS)' || { echo 'error: PHOTOS is "$(PHOTOS)", expected a folder:' \
		'make weights PHOTOS=DIR' >&2; exit 2; }
	$(PYTHON) -m Miniproject_1.others.study.weights --photos '$(PHOTOS)' \
		--results report/results/pretraining.jsonl
	$(PYTHON) -m Miniproject_1.others.picture -o report/figures/photos.png

zip:
	@echo '$(strip $(SCIPERS))' | grep -Eqx '[0-9]{6}( [0-9]{6}){0,2}' || { \
		echo 'error: SCIPERS is "$(SCIPERS)", expected one to three numbers of six digits:' \
		'make zip SCIPERS="111111 222222 333333"' >&2; exit 2; }
	rm -rf out/$(PROJECT)
	mkdir -p out/$(PROJECT)
	cp -R Miniproject_1 out/$(PROJECT)
	find out/$(PROJECT) -name __pycache__ -prune -exec rm -rf {} +
	rm out/$(PROJECT)/Miniproject_1/__main__.py
	cp bestmodel.pth report/Report_1.pdf out/$(PROJECT)/Miniproject_1
	cd out && python3 -m zipfile -c ../$(PROJECT).zip $(PROJECT)
	@echo 'wrote $(PROJECT).zip'

# Fails if the zip, in an empty folder, lacks anything or does not pass.
submission: zip .venv/.stamp out/data/train_data.pkl
	rm -rf out/unpacked
	$(PYTHON) -m zipfile -e $(PROJECT).zip out/unpacked
	cd out/unpacked/$(PROJECT)/Miniproject_1 && \
		ls __init__.py model.py bestmodel.pth Report_1.pdf others/__init__.py >/dev/null
	$(PYTHON) test.py -p out/unpacked/$(PROJECT) -d out/data

clean:
	rm -rf out build dist *.egg-info Proj_*.zip .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f report/Report_1.aux report/Report_1.log report/Report_1.out
	find Miniproject_1 tests -name __pycache__ -prune -exec rm -rf {} +
