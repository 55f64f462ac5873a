# `make` lists the targets. All of them need python3 (3.11 or newer) only; `make report` needs LaTeX too.

PYTHON := .venv/bin/python
empty :=
PROJECT := Proj_$(subst $(empty) ,_,$(strip $(SCIPERS)))

.PHONY: help run test report zip clean

help:
	@echo 'make run     grade the pretrained network and a short training on generated data,'
	@echo '             and write a noisy | denoised | clean picture to out/example.png'
	@echo 'make test    lint and run the tests'
	@echo 'make report  typeset report/Report_1.pdf'
	@echo 'make zip SCIPERS="111111 222222 333333"   the zip to hand in'
	@echo 'make clean   remove what these made, but for .venv and data'

run: .venv/.stamp data/train_data.pkl
	$(PYTHON) test.py -d data --epochs 2
	$(PYTHON) -m Miniproject_1.others.picture -o out/example.png

test: .venv/.stamp
	$(PYTHON) -m ruff check .
	$(PYTHON) -m pytest -q

# Fewer than the 50,000 pairs of the course, for a few minutes in all; pairs that are there already are kept.
data/train_data.pkl: | .venv/.stamp
	$(PYTHON) -m Miniproject_1 data -o data --pairs 20000

# Made anew only when requirements.txt changes.
.venv/.stamp: requirements.txt
	python3 -m venv .venv || { echo 'error: no venv module; on Debian: apt-get install python3-venv' >&2; exit 2; }
	$(PYTHON) -m pip install --quiet -r requirements.txt
	touch $@

# report/results holds the measurements; where one is missing, figures.py names the command that makes it.
report: .venv/.stamp report/figures/example.png
	@command -v pdflatex >/dev/null || { echo 'error: pdflatex is missing; on Debian:' \
		'apt-get install texlive-latex-recommended texlive-fonts-recommended' >&2; exit 2; }
	$(PYTHON) -m Miniproject_1.others.figures
	cd report && for pass in 1 2; do \
		pdflatex -interaction=nonstopmode -halt-on-error -jobname=Report_1 report.tex || exit; done

report/figures/example.png: bestmodel.pth | .venv/.stamp
	$(PYTHON) -m Miniproject_1.others.picture -o $@

zip:
	@echo '$(strip $(SCIPERS))' | grep -Eqx '[0-9]{6}( [0-9]{6}){0,2}' || { echo 'error: SCIPERS is "$(SCIPERS)",' \
		'expected one to three numbers of six digits: make zip SCIPERS="111111 222222 333333"' >&2; exit 2; }
	rm -rf out/$(PROJECT)
	mkdir -p out/$(PROJECT)/Miniproject_1/others
	cp Miniproject_1/__init__.py Miniproject_1/model.py bestmodel.pth report/Report_1.pdf out/$(PROJECT)/Miniproject_1
	cp Miniproject_1/others/*.py out/$(PROJECT)/Miniproject_1/others
	cd out && python3 -m zipfile -c ../$(PROJECT).zip $(PROJECT)
	@echo 'wrote $(PROJECT).zip'

clean:
	rm -rf out build dist *.egg-info Proj_*.zip .pytest_cache .ruff_cache .hypothesis
	rm -f report/Report_1.aux report/Report_1.log report/Report_1.out
	find Miniproject_1 tests -name __pycache__ -prune -exec rm -rf {} +
